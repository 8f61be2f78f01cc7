"""Data sets, scores and exporters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import torch
from torch import Tensor

from genprior.parts.base import Part, PartConfig
from genprior.parts.models import Model
from genprior.parts.values import ImageSet

__all__ = ["Dataset", "Exporter", "Score", "ScoreContext"]


class Dataset(Part, ABC):
    """A set of images."""

    kind = "dataset"

    def __init__(self, config: PartConfig) -> None:
        """Remember the settings; nothing is read before `load`."""
        self.config: Any = config

    @property
    def stochastic(self) -> bool:
        """Whether a training pixel is its probability of white: each batch then draws black or white anew."""
        return False

    @abstractmethod
    def load(self, split: str) -> ImageSet:
        """Read the split `"train"` or `"test"`, or `"validation"` of a set that holds one back from training.

        Raises:
            DataError: the data is missing (the message says how to get it), empty, corrupt or of a wrong shape.
        """


class ScoreContext(ABC):
    """What a score may ask for: generated images, real ones, and where it runs."""

    device: torch.device
    seed: int

    @abstractmethod
    def generated(self, n: int) -> Tensor:
        """N generated images, uint8 [n, c, h, w] on the host; the first n of one fixed sequence."""

    @abstractmethod
    def real(self, split: str) -> ImageSet:
        """The data set's split `"train"`, `"test"`, or `"validation"` where it has one."""

    @abstractmethod
    def trained(self) -> AbstractContextManager[Model]:
        """The model inside a `with` block: averaged weights where there are any, evaluation mode, no gradients.

        Raises:
            ScoreError: there are only images.
        """


class Score(Part, ABC):
    """A number that says how good generated images are."""

    kind = "score"
    higher_is_better: ClassVar[bool]
    needs_generated: ClassVar[bool] = False
    """Whether it looks at images that the model makes, so that a model that makes none is refused before training."""

    def __init__(self, config: PartConfig) -> None:
        """Remember the settings."""
        self.config: Any = config

    @property
    def needs(self) -> Mapping[str, str]:
        """Splits that it cannot do without, beside `"test"`, each with what to do where the data set has none."""
        return {}

    @abstractmethod
    def measure(self, context: ScoreContext) -> dict[str, float]:
        """The score by name, with `<name>_std` where there are splits, and `real_<name>` for held-out real images.

        Raises:
            ScoreError: it cannot be computed from what is there; the message says the ways out.
        """


class Exporter(Part, ABC):
    """A way to write generated images."""

    kind = "exporter"

    def __init__(self, config: PartConfig) -> None:
        """Remember the settings."""
        self.config: Any = config

    @abstractmethod
    def write(self, model: Model, path: Any, *, n: int, seed: int, label: int | None) -> None:
        """Write n images of `model`, drawn under `seed`, to the file `path`, whole or not at all."""
