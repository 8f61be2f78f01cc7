"""Runs that are tracked, interrupted and resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import genprior
from genprior.runs.trainer import Trainer

Numbers = dict[str, list[tuple[int, float]]]


@pytest.fixture
def tracked(tiny: Path, tmp_path: Path) -> Callable[..., Trainer]:
    """Train the row AAE of the tiny recipe: six steps, a record each second one, a grid and a checkpoint each third."""

    def train(hook: str, *settings: str, until: int | None = None, folder: str = "run", row: str = "AAE") -> Trainer:
        given = (f"run.hooks.{hook}.{each}" for each in ("samples=4", *settings))
        fixed = (
            "run.sample_every=3", "run.hooks.pictures.enabled=false", 'scores=[{name="parzen", samples=20}]',
            "data.validation=200", 'optimiser.default.schedule={name="linear"}',
        )  # fmt: skip
        plan = genprior.load_recipe(tiny, settings=(*given, *fixed)).row(row)
        trainer = Trainer(plan, 0, tmp_path / folder)
        trainer.run(until)
        return trainer

    return train


class Interrupted(NamedTuple):
    """A run of which steps were trained twice."""

    trainer: Trainer
    numbers: Numbers
    """What a tracker must hold: each step once, as in metrics.jsonl, and the scores at the last step."""


@pytest.fixture
def interrupted(tracked: Callable[..., Trainer]) -> Callable[..., Interrupted]:
    """A run that is stopped after step 5, loses the checkpoint of that step, and goes on from step 3 to its end."""

    def train(hook: str, *settings: str) -> Interrupted:
        stopped = tracked(hook, *settings, until=5)
        assert [line["step"] for line in stopped.metrics] == [2, 4]
        for file in (stopped.folder / "checkpoints").glob("step-00000005.*"):
            file.unlink()
        trainer = tracked(hook, *settings)
        assert "hook_failures" not in (trainer.folder / "run.json").read_text()
        numbers: Numbers = {}
        for line in trainer.metrics:
            for key, value in line.items():
                if key not in ("step", "seconds"):
                    numbers.setdefault(key, []).append((line["step"], value))
        scores = genprior.load_run(trainer.folder).scores
        assert scores and "optimiser/decoder/lr" in numbers
        return Interrupted(trainer, {**numbers, **{f"score/{name}": [(6, value)] for name, value in scores.items()}})

    return train
