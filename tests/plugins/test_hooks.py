"""The run events reach a plugin, in order, with the documented arguments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genprior import hookimpl, load_recipe
from genprior.registry import Origin, load
from genprior.runs.trainer import Trainer

from ..small import aae

RECIPE = """
title = "hooks"
data = { name = "digits", size = 8 }
optimiser.default = { name = "sgd", lr = 0.01 }
[run]
steps = 4
batch = 4
log_every = 2
checkpoint_every = 4
sample_every = 4
""" + aae(code_size=2, hidden=8)


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    @hookimpl
    def genprior_run_started(self, trainer: Trainer) -> None:
        self.heard.append(("started", (trainer.folder, trainer.plan.label, trainer.step)))

    @hookimpl
    def genprior_step_done(self, step: int, metrics: Mapping[str, float] | None) -> None:
        self.heard.append(("step", (step, metrics)))

    @hookimpl
    def genprior_run_finished(self, trainer: Trainer, scores: Mapping[str, float]) -> None:
        self.heard.append(("finished", (trainer.step, dict(scores))))


def test_run_events(tmp_path: Path) -> None:
    file = tmp_path / "hooks.toml"
    file.write_text(RECIPE)
    (plan,) = load_recipe(file).plans
    registry, listener = load(), Listener()
    registry.add(listener, Origin("listener", "tests 1"))
    Trainer(plan, 0, tmp_path / "run", device="cpu", registry=registry).run()
    assert [what for what, _ in listener.heard] == ["started", "step", "step", "step", "step", "finished"]
    assert listener.heard[0][1] == (tmp_path / "run", "base", 0)
    assert [step for step, _ in (said for what, said in listener.heard if what == "step")] == [1, 2, 3, 4]
    recorded = [metrics for _, metrics in (said for what, said in listener.heard if what == "step")]
    assert [metrics is None for metrics in recorded] == [True, False, True, False]
    assert "regularise/encoder/loss" in recorded[1]
    assert listener.heard[-1][1] == (4, {})
