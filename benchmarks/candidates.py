"""The compared training loops, each as a function of a number of steps."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from handwritten import HandwrittenLoop
from pythae_aae import ReadyBatches, make_trainer
from torch import Tensor

import genprior
from genprior.data.images import images_to_float
from genprior.parts import Batch, ImageSet
from genprior.runs.trainer import Trainer

__all__ = ["BATCH", "CANDIDATES", "COMPARISONS", "Setting", "make", "our_trainer"]

RECIPE = Path(__file__).parents[1] / "recipes" / "table3_ablation.toml"
BATCH = 64
IMAGES = 8 * BATCH

CANDIDATES = ("ours-fp32", "ours-bf16", "handwritten", "ours-aae-fp32", "ours-aae-bf16", "pythae")

# (ours, the other, the goal for the ratio, what is compared).
COMPARISONS = (
    ("ours-bf16", "handwritten", 2.5, "A+B+C, bf16 against a hand-written loop in fp32"),
    ("ours-fp32", "handwritten", 1.4, "A+B+C, against a hand-written loop at equal precision"),
    ("ours-aae-fp32", "pythae", 1.6, "AAE phase, against pythae at equal precision"),
    ("ours-aae-bf16", "pythae", None, "AAE phase, bf16 against pythae in fp32"),
)


@dataclass(frozen=True)
class Setting:
    """The settings that all candidates share."""

    width: int = 16
    channels: int = 3
    side: int = 32
    code: int = 64
    device: str = "cpu"


class _PrecomputedBatches:
    """Precomputed batches in place of a trainer's data."""

    def __init__(self, batches: list[Batch]) -> None:
        self._batches = batches

    def batch(self, step: int) -> Batch:
        return self._batches[step % len(self._batches)]


def _pictures(setting: Setting) -> Tensor:
    """Random bytes [n, c, h, w] on the host: how fast a network runs does not depend on what it sees."""
    shape = (IMAGES, setting.channels, setting.side, setting.side)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def our_trainer(
    setting: Setting, row: str, precision: str, folder: Path, *, ready: bool = False, lends_networks: bool = False
) -> Trainer:
    """Genprior's trainer of a row of the Table 3 recipe, prepared; `ready` precomputes the batches.

    A trainer that only lends its networks to another loop leaves the process's memory settings as they are. The
    averaging of weights is off, because the loops that it is compared with have none.
    """
    sizes = [f"model.{part}.width={setting.width}" for part in ("encoder", "decoder", "image_critic")]
    settings = [*sizes, f"model.code_size={setting.code}", f"run.batch={BATCH}", f'run.precision="{precision}"']
    plan = genprior.load_recipe(RECIPE, rows=[row], settings=settings).plans[0]
    plan = plan.model_copy(update={"run": plan.run.model_copy(update={"ema": None})})
    images = _pictures(setting)
    train = ImageSet(images, torch.zeros(len(images), dtype=torch.int64), ())
    trainer = Trainer(plan, 0, folder, device=setting.device, splits={"train": train})
    with mock.patch("genprior.runs.row_training.keep_freed_memory") if lends_networks else contextlib.nullcontext():
        trainer.prepare()
    trainer.model.train()
    if ready:
        trainer.data = _PrecomputedBatches([trainer.data.batch(step) for step in range(IMAGES // BATCH)])  # type: ignore[assignment]
    return trainer


def make(name: str, setting: Setting, folder: Path) -> Callable[[int], None]:
    """A candidate by its name, as a function that trains for that many steps."""
    folder.mkdir(parents=True, exist_ok=True)
    if name == "handwritten":
        source = our_trainer(setting, "A+B+C", "fp32", folder, lends_networks=True)
        loop = HandwrittenLoop(_contiguous(source), images_to_float(_pictures(setting)).to(setting.device), batch=BATCH)
        return _repeat(loop.step)
    if name == "pythae":
        source = our_trainer(setting, "AAE", "fp32", folder, lends_networks=True)
        images = images_to_float(_pictures(setting)).to(setting.device)
        trainer = make_trainer(_contiguous(source), images, folder, code=setting.code)
        batches = [{"data": x} for x in images.split(BATCH)]

        def train(steps: int) -> None:
            trainer.train_loader = ReadyBatches(batches[step % len(batches)] for step in range(steps))
            trainer.train_step(epoch=1)

        return train
    row = "AAE" if "-aae-" in name else "A+B+C"
    ours = our_trainer(setting, row, name.rsplit("-", 1)[1], folder, ready=row == "AAE")
    return _repeat(ours.one_step)


def _contiguous(trainer: Trainer) -> dict[str, Any]:
    """The trainer's networks, in torch's default memory format."""
    trainer.model.to(memory_format=torch.contiguous_format)
    return dict(trainer.modules)


def _repeat(step: Callable[[], object]) -> Callable[[int], None]:
    def train(steps: int) -> None:
        for _ in range(steps):
            step()

    return train
