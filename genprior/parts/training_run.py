"""The view of a run that hooks get."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from genprior.parts.models import Model
from genprior.parts.values import ImageSet

__all__ = ["TrainingRun"]


class TrainingRun(Protocol):
    """A row under one seed during training, as the hooks of plugins see it; hooks must not change it."""

    plan: Any
    """The resolved recipe of the row: `plan.label`, `plan.run.steps`, `plan.model`, ..."""
    seed: int
    """The run's seed."""
    folder: Path
    """The run folder; a hook writes its files into its own folder below it."""
    step: int
    """The number of finished steps; after early stopping it is that of the stop, and `model` is the best one."""
    metrics: list[dict[str, Any]]
    """The lines of metrics.jsonl so far: `step`, `seconds`, the means of losses, gradient norms and notes, and the
    learning rates that schedules change."""
    model: Model
    """The model with its live weights."""

    @property
    def ended(self) -> bool:
        """Whether training is over: after the last step, or after the one at which it stopped early."""

    def images(self, split: str) -> ImageSet:
        """A split of the run's data set, cached after the first read.

        Raises:
            DataError: the data set has no such split.
        """

    def sample(self, n: int, *, seed: int | None = None, label: int | None = None) -> Tensor:
        """N new images, uint8 [n, c, h, w] on the host, from the averaged weights if the run averages them.

        Under one seed (by default the run's), a longer sequence begins with the shorter one.
        """

    def trained(self) -> AbstractContextManager[Model]:
        """A context with the model in evaluation mode, without gradients, with averaged weights if there are any."""
