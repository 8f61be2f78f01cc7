"""All that a plugin may hook into, on one screen.

A plugin is a module named by an entry point of the group `genprior`; it decorates functions of these names with
`genprior.hookimpl`. A function may leave out arguments that it does not use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from genprior.parts import Part, TrainingRun

__all__ = ["genprior_parts", "genprior_run_finished", "genprior_run_started", "genprior_step_done", "hookimpl"]

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
def genprior_run_finished(trainer: TrainingRun, scores: Mapping[str, float]) -> None:
    """A row is trained and scored."""
