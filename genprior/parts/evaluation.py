"""Data sets, scores and exporters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from genprior.errors import ScoreError
from genprior.parts.base import Part, PartConfig
from genprior.parts.models import Model
from genprior.parts.values import ImageSet

__all__ = ["Column", "Dataset", "Exporter", "SampleScore", "Score", "ScoreContext"]


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


class Column(NamedTuple):
    """How a table shows a score."""

    key: str
    """Its name among the results."""
    title: str
    higher_is_better: bool


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
    def columns(self) -> Sequence[Column]:
        """How tables show what it writes, spreads and `real_` values left out; by default one column of its name."""
        return (Column(self.name, self.name, self.higher_is_better),)

    @property
    def needs(self) -> Mapping[str, str]:
        """Splits that it cannot do without, beside `"test"`, each with what to do where the data set has none."""
        return {}

    @property
    def samples(self) -> int | None:
        """How many generated images it takes; None where their number is no setting, see `SampleScore`."""
        return None

    @property
    def caveat(self) -> str:
        """A sentence for below a table: why its numbers cannot be compared with published ones; empty if they can."""
        return ""

    def with_samples(self, samples: int) -> PartConfig:
        """Its settings with another number of generated images; as they are where it has no such setting.

        Raises:
            pydantic.ValidationError: it cannot have so many.
        """
        config: PartConfig = self.config
        return config

    def on_undivided(self) -> PartConfig:
        """Its settings for real images that are one set in the place of splits; as they are if it names no split."""
        config: PartConfig = self.config
        return config

    def check(self) -> None:
        """Refuse settings under which nothing can be measured.

        Raises:
            ScoreError: says which, and what to give.
        """

    def protocol(self, settings: Mapping[str, Any], network: str) -> list[str]:
        """How it was measured, in words for below a table, such as `["network x-12ab", "50,000 samples"]`.

        Args:
            settings: its settings, files by a hash of their content.
            network: the networks that it looked through, by their keys; empty where none is recorded.
        """
        words = [f"network {network}"] if network else []
        for key, value in settings.items():
            if key != "name" and value is not None:
                counted = isinstance(value, int) and not isinstance(value, bool)
                number = f"{value:,}" if counted else str(value)
                word = f"{number} {key}" if counted and key.endswith("s") else f"{key} {number}"
                words.append(word.replace("_", " "))
        return words

    @abstractmethod
    def measure(self, context: ScoreContext) -> dict[str, float]:
        """The score by name, with `<name>_std` where there are splits, and `real_<name>` for held-out real images.

        Raises:
            ScoreError: it cannot be computed from what is there; the message says the ways out.
        """


class SampleScore(Score):
    """A score of as many generated images as its setting `samples` says, which its `Config` must have.

    Several such scores share their images, and `genprior bench --samples` sets how many.
    """

    needs_generated = True
    filled: ClassVar[Mapping[str, int]] = {}
    """Settings that count samples, such as a subset's size, each with how many more than its value are needed."""

    @property
    def samples(self) -> int:
        """How many generated images it takes."""
        return int(self.config.samples)

    def with_samples(self, samples: int) -> PartConfig:
        """Its settings with another number of generated images.

        Raises:
            pydantic.ValidationError: it cannot have so many.
        """
        config: PartConfig = self.config
        return type(config).model_validate(config.model_dump() | {"samples": samples})

    def check(self) -> None:
        """Refuse fewer samples than its other settings take.

        Raises:
            ScoreError: says which, and what to give.
        """
        settings = self.config.model_dump()
        for name, more in self.filled.items():
            if self.samples < settings[name] + more:
                raise ScoreError(
                    f"score '{self.name}' is asked of {self.samples} samples with {name} = {settings[name]}, which "
                    f"needs at least {settings[name] + more}; raise --samples, or lower it: "
                    f"--score '{{ name = \"{self.name}\", samples = {self.samples}, {name} = ... }}'"
                )


class Exporter(Part, ABC):
    """A way to write generated images."""

    kind = "exporter"
    suffixes: ClassVar[tuple[str, ...]] = ()
    """Endings of files that it is chosen for, such as `".png"`; an exporter of none is called by its name alone."""
    by_label: ClassVar[bool] = False
    """Whether it lays a picture out by label; such an exporter may be for the same ending as one that does not."""
    writes: ClassVar[str] = "a picture of independent images"
    """What its files are, for messages."""

    @classmethod
    def for_classes(cls, classes: int) -> PartConfig:
        """Its settings for data of so many classes, 0 where there are no labels; the default ones if all are alike."""
        return cls.Config()

    def __init__(self, config: PartConfig) -> None:
        """Remember the settings."""
        self.config: Any = config

    @abstractmethod
    def write(self, model: Model, path: Any, *, n: int, seed: int, label: int | None) -> None:
        """Write n images of `model`, drawn under `seed`, to the file `path`, whole or not at all."""
