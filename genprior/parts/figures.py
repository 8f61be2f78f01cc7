"""Figures: pictures of several finished runs, with the data behind them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

from torch import Tensor

from genprior.parts.base import Part, PartConfig
from genprior.parts.drawings import Drawing
from genprior.parts.models import Model
from genprior.parts.values import ImageSet

__all__ = ["Drawing", "Figure", "RecipeRows", "TrainedRun"]


class TrainedRun(Protocol):
    """A finished run, as figures see it; they must not change it. `genprior.load_run` returns one."""

    plan: Any
    """The resolved recipe of the row: `plan.label`, `plan.data`, `plan.model`, ..."""

    @property
    def label(self) -> str:
        """The row's name."""

    @property
    def seed(self) -> int:
        """The run's seed."""

    @property
    def classes(self) -> list[str]:
        """The class names of the run's data, in label order."""

    @property
    def model(self) -> Model:
        """The model in evaluation mode, with averaged weights if the run has them."""

    def images(self, split: str) -> ImageSet:
        """A split of the run's data set.

        Raises:
            DataError: the data set has no such split, or is missing.
        """

    def sample(
        self, n: int, *, seed: int = 0, label: str | int | None = None, text: str | Sequence[str] | None = None
    ) -> Tensor:
        """N new images, uint8 [n, c, h, w] on the host; images of one seed share their noise across labels and texts.

        Raises:
            PlanError: a label or a text is given, and the model takes none.
        """


class RecipeRows(NamedTuple):
    """The rows of a recipe that a figure shows, in this order."""

    recipe: str
    """The recipe as `genprior train` takes it, such as `recipes/table1_priors.toml`."""
    rows: tuple[str, ...] = ()
    """The labels of its rows; empty for all rows that are found."""


class Figure(Part, ABC):
    """A picture of finished runs, such as a figure of a paper; `genprior figure NAME` finds its runs and writes it.

    Its settings are set by `genprior figure NAME --set KEY=VALUE`. A setting called `text`, a tuple of texts, is also
    set by `--text`, which may be repeated.
    """

    kind = "figure"
    recipes: ClassVar[tuple[RecipeRows, ...]] = ()
    """The recipes that train its runs; without any, runs have to be given."""

    def __init__(self, config: PartConfig) -> None:
        """Hold the settings."""
        self.config: Any = config

    @abstractmethod
    def draw(self, runs: Sequence[TrainedRun], seed: int) -> Drawing:
        """Draw the picture of finished runs, in the order of `recipes` or of the command's `--rows`.

        Args:
            runs: at least one; one for each row.
            seed: draws noise and conditions; the same seed gives the same picture.

        Raises:
            PlanError: the runs do not have what the figure shows; the message names the row.
        """
