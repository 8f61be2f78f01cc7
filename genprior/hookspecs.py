"""All that a plugin may hook into, on one screen.

A plugin is a module named by an entry point of the group `genprior`; it decorates functions of these names with
`genprior.hookimpl`. A function may leave out arguments that it does not use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from torch import Tensor

    from genprior.parts import Part, TrainingRun

__all__ = [
    "genprior_checkpoint_written",
    "genprior_epoch_done",
    "genprior_evaluated",
    "genprior_parts",
    "genprior_run_failed",
    "genprior_run_finished",
    "genprior_run_interrupted",
    "genprior_run_started",
    "genprior_sampled",
    "genprior_step_done",
    "genprior_table_written",
    "hookimpl",
]

hookspec = pluggy.HookspecMarker("genprior")
hookimpl = pluggy.HookimplMarker("genprior")


@hookspec
def genprior_parts(register: Callable[[type[Part]], None]) -> None:
    """Offer parts: call `register(MyPrior)` for each part class."""


@hookspec
def genprior_run_started(trainer: TrainingRun) -> None:
    """A row starts or resumes training; `trainer.folder`, `trainer.plan` and `trainer.step` say which and where."""


@hookspec
def genprior_step_done(trainer: TrainingRun, step: int, metrics: Mapping[str, float] | None) -> None:
    """`step` steps are done; `metrics` is None, or every `run.log_every` steps the line of metrics.jsonl."""


@hookspec
def genprior_epoch_done(trainer: TrainingRun, epoch: int) -> None:
    """`epoch` epochs are done: each visits every training image once, without the last batch if it is partial."""


@hookspec
def genprior_sampled(trainer: TrainingRun, step: int, images: Tensor) -> None:
    """100 samples, uint8 [100, c, h, w] on the host, every `run.sample_every` steps and after the last one."""


@hookspec
def genprior_checkpoint_written(trainer: TrainingRun, path: Path) -> None:
    """A checkpoint was written: the tensors at `path`, and a .json of the same name beside it."""


@hookspec
def genprior_evaluated(trainer: TrainingRun, scores: Mapping[str, float]) -> None:
    """Scores were measured, by name; not called in a run without scores."""


@hookspec
def genprior_run_finished(trainer: TrainingRun, scores: Mapping[str, float]) -> None:
    """A row is trained and scored."""


@hookspec
def genprior_run_interrupted(trainer: TrainingRun) -> None:
    """The user stopped the row after `trainer.step` steps; the checkpoint is written."""


@hookspec
def genprior_run_failed(trainer: TrainingRun, error: BaseException) -> None:
    """An error ended the row: a loss that is not finite, or what a part raised."""


@hookspec
def genprior_table_written(folder: Path) -> None:
    """The table of a recipe's runs was written to `folder`, once the rows are trained; an exception is a warning."""
