"""What a hook may see of a run."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from genprior.parts.models import Model
from genprior.parts.values import ImageSet

__all__ = ["TrainingRun"]


class TrainingRun(Protocol):
    """A row under one seed while it is trained, as the hooks of plugins see it; they change nothing of it."""

    plan: Any
    """The resolved recipe of the row: `plan.label`, `plan.run.steps`, `plan.model`, ..."""
    seed: int
    """The run's seed."""
    folder: Path
    """Where the run writes; files of a hook go into folders of their own below it."""
    step: int
    """Steps that are done."""
    metrics: list[dict[str, Any]]
    """The lines of metrics.jsonl so far: `step`, `seconds`, and the means of losses, gradient norms and notes."""
    model: Model
    """The model with its live weights."""

    def images(self, split: str) -> ImageSet:
        """A split of the run's data set, read once.

        Raises:
            DataError: there is no such split.
        """

    def sample(self, n: int, *, seed: int | None = None, label: int | None = None) -> Tensor:
        """N new images, uint8 [n, c, h, w] on the host, of the averaged weights where there are any.

        Under one seed, the run's by default, a longer sequence begins with the shorter one.
        """

    def trained(self) -> AbstractContextManager[Model]:
        """The model inside a `with` block: averaged weights where there are any, evaluation mode, no gradients."""
