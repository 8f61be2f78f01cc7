"""Scores and exporters."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from genprior.errors import PluginError, ScoreError
from genprior.parts.base import Part, PartConfig
from genprior.parts.models import Model
from genprior.parts.values import ImageSet

__all__ = ["Column", "Exporter", "SampleScore", "Score", "ScoreContext", "TextExporter"]


class ScoreContext(ABC):
    """The inputs of a score: generated images, real images, the model, the device and the seed."""

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
        """A context with the model in evaluation mode, without gradients, with averaged weights if there are any.

        Raises:
            ScoreError: there is no model, only images.
        """


class Column(NamedTuple):
    """A column of tables: one of the numbers that a score returns."""

    key: str
    """The number's name among what `Score.measure` returns."""
    title: str
    """The heading, with the unit, such as `NLL (nats)`."""
    higher_is_better: bool | None
    """The direction, from which arrows, bold numbers and the order of rows follow; None where neither is better."""
    absent: str = ""
    """Why the score may leave this number out, for the note of an empty cell; empty if it always returns it."""
    of_prior: bool = False
    """Whether it measures the prior apart from the decoder, so that `genprior priors` prints it beside the ranking."""


class Score(Part, ABC):
    """A measure of the quality of generated images."""

    kind = "score"
    higher_is_better: ClassVar[bool | None]
    at_most: ClassVar[tuple[str, ...]] = ()
    """Settings that are upper bounds, such as a number of images of which the data may have fewer, for `protocol`."""
    needs_generated: ClassVar[bool] = False
    """Whether it needs generated images, so that a model that makes none is refused before training."""
    rehearsed: ClassVar[bool] = True
    """Whether a recipe's check measures it on 24 images, so that its mistakes show before training.

    State False for a score that takes long on few images too, or that loads a network. A `ScoreError` is no mistake.
    """

    def __init__(self, config: PartConfig) -> None:
        """Hold the settings."""
        self.config: Any = config

    @cached_property
    def columns(self) -> Sequence[Column]:
        """The columns of its results in tables, without spreads and `real_` values; by default one of its name.

        Numbers that `measure` returns beside these have no column; they are kept with the scores of the run.
        """
        return (Column(self.name, self.name, self.higher_is_better),)

    @cached_property
    def needs(self) -> Mapping[str, str]:
        """Splits that it needs besides `"test"`, each with advice for a data set that lacks it."""
        return {}

    @cached_property
    def samples(self) -> int | None:
        """The number of generated images, the setting `samples`; None where it has no such setting."""
        return int(self.config.samples) if "samples" in type(self.config).model_fields else None

    @cached_property
    def caveat(self) -> str:
        """A sentence below a table on why its numbers cannot be compared with published ones; empty if they can."""
        return ""

    def with_samples(self, samples: int) -> PartConfig:
        """Its settings with another number of generated images; unchanged where it has no such setting.

        Raises:
            pydantic.ValidationError: the number is not allowed.
        """
        config: PartConfig = self.config
        if "samples" not in type(config).model_fields:
            return config
        return type(config).model_validate(config.model_dump() | {"samples": samples})

    def on_undivided(self) -> PartConfig:
        """Its settings for real images in one set instead of splits, `reference = "test"` where it has that setting."""
        config: PartConfig = self.config
        if "reference" not in type(config).model_fields:
            return config
        return type(config).model_validate(config.model_dump() | {"reference": "test"})

    def check(self) -> None:
        """Refuse settings with which it cannot be measured.

        Raises:
            ScoreError: names the setting and a value that works.
        """

    def check_row(self, model: Model, load: Callable[[str], ImageSet]) -> None:
        """Refuse a model or data that it cannot score; called before training, with an untrained model.

        Args:
            model: the model of the row.
            load: reads a split of the data set.

        Raises:
            ScoreError: says what the model or the data lacks.
        """

    def protocol(self, settings: Mapping[str, Any], network: str) -> list[str]:
        """The protocol of the measurement in words, for below a table, such as `["network x-12ab", "50,000 samples"]`.

        Args:
            settings: its settings, with content hashes in place of file paths.
            network: the keys of the feature networks; empty where none is recorded.
        """
        words = [f"network {network}"] if network else []
        for key, value in settings.items():
            if key != "name" and value is not None:
                counted = isinstance(value, int) and not isinstance(value, bool)
                number = f"{value:,}" if counted else str(value)
                word = f"{number} {key}" if counted and key.endswith("s") else f"{key} {number}"
                words.append(("at most " if key in self.at_most else "") + word.replace("_", " "))
        return words

    def facts(self, key: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Facts of one of its results, by the names of fields of a published number's protocol.

        A table shows a published number only beside a measured one whose facts agree. By default its settings, such as
        `importance_samples`, the facts of the row, and the split that it scores with the number of its images: `test`
        without a setting `split`, and at most `images` where `at_most` names that setting.

        Args:
            key: the result, as in `columns`.
            data: the facts of the row: those of `Dataset.facts`, its training images, labels and model.
        """
        given, test = self.config.model_dump(mode="json").items(), data.get("split", "test")
        settings = {k: test if v == "test" else v for k, v in given if k != "name" and v is not None}
        facts = {**settings, **data, "split": settings.get("split", test)}
        count = data.get("images_of_splits", {}).get(facts["split"])
        if "images" in self.at_most and "images" in settings:
            count = settings["images"] if count is None else min(count, settings["images"])
        return facts if count is None else {**facts, "test_images": count}

    @abstractmethod
    def measure(self, context: ScoreContext) -> dict[str, float]:
        """The score by name, with `<name>_std` where there are splits, and `real_<name>` for held-out real images.

        Raises:
            ScoreError: it cannot be computed here; the message says what to do.
        """


class SampleScore(Score):
    """A score of `samples` generated images, a setting that its `Config` must have.

    Several such scores share their images, and `genprior bench --samples` sets their number.
    """

    needs_generated = True
    filled: ClassVar[Mapping[str, int]] = {}
    """Settings that count samples, such as a subset's size, each with the samples required beyond its value."""

    def facts(self, key: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Its settings and the facts of the row, without a split: it scores generated images."""
        return {k: v for k, v in super().facts(key, data).items() if k not in ("split", "test_images")}

    def check(self) -> None:
        """Refuse fewer samples than its other settings require.

        Raises:
            ScoreError: names the setting and a value that works.
        """
        for name, value, least in self._too_few():
            samples = self.config.samples
            option = _as_option(self.config, samples=samples, **{name: max(1, samples - least + value)})
            text = f"{samples} samples with {name} = {value}, which needs at least {least}; raise --samples"
            raise ScoreError(f"score '{self.name}' is asked of {text}, or lower it: {option}")

    def check_row(self, model: Model, load: Callable[[str], ImageSet]) -> None:
        """Refuse fewer samples than its other settings require, in words of a recipe.

        Raises:
            ScoreError: names the settings.
        """
        for name, value, least in self._too_few():
            text = f"{name} = {value} needs samples = {least} or more, and samples = {self.config.samples}"
            raise ScoreError(f"{text}; raise samples, or lower {name}")

    def _too_few(self) -> Iterator[tuple[str, int, int]]:
        """Each setting that requires more samples than there are, its value, and the samples that it requires."""
        for name, more in self.filled.items():
            value: int = getattr(self.config, name)
            if self.config.samples < value + more:
                yield name, value, value + more


def _as_option(config: PartConfig, **changed: object) -> str:
    """The option of `genprior bench` that asks for a score with these settings, but for those `changed`."""
    given = config.model_dump(mode="json", exclude_defaults=True) | changed
    settings = "".join(f", {key} = {json.dumps(value)}" for key, value in given.items() if key != "name")
    return f"--score '{{ name = \"{config.name}\"{settings} }}'"


class Exporter(Part, ABC):
    """Writes generated images to a file."""

    kind = "exporter"
    suffixes: ClassVar[tuple[str, ...]] = ()
    """File name endings that select it, such as `".png"`; without any it is selected only by its name.

    An ending of a standard exporter selects that one, unless only this one lays images out as the command asks.
    """
    by_label: ClassVar[bool] = False
    """Whether it lays a picture out by label; it may share an ending with an exporter that does not."""
    writes: ClassVar[str] = "a picture of independent images"
    """A description of its files, for messages."""
    class_names: Sequence[str] = ()
    """The classes of the run's data in label order, set before `write`; empty if they have no names."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse endings that no file name could have.

        Raises:
            PluginError: `suffixes` is no tuple of endings.
        """
        super().__init_subclass__(**kwargs)
        endings: Any = cls.suffixes
        if not isinstance(endings, tuple) or not all(isinstance(e, str) and re.fullmatch(r"\.\S+", e) for e in endings):
            raise PluginError(
                f"exporter '{cls.name}' ({cls.__module__}.{cls.__qualname__}) has suffixes = {endings!r}: write a "
                'tuple of endings with their dots, such as (".pt",)'
            )

    @classmethod
    def for_classes(cls, classes: int) -> PartConfig:
        """Its settings for data with this number of classes, 0 without labels; by default the defaults."""
        return cls.Config()

    def __init__(self, config: PartConfig) -> None:
        """Hold the settings."""
        self.config: Any = config

    @abstractmethod
    def write(self, model: Model, path: Any, *, n: int, seed: int, label: int | None) -> None:
        """Write n images of `model`, drawn under `seed`, to the file `path`, whole or not at all."""


class TextExporter(Exporter):
    """An exporter that also writes images which sentences describe, of models that are conditioned on text."""

    @abstractmethod
    def write(
        self, model: Model, path: Any, *, n: int, seed: int, label: int | None, text: Sequence[str] | None = None
    ) -> None:
        """Write n images of `model`, drawn under `seed`, to the file `path`, whole or not at all.

        Args:
            model: in evaluation mode.
            path: the file.
            n: the number of images.
            seed: draws codes and conditions.
            label: the class of the images, or None.
            text: sentences, the first for the first image, repeated in turn; or None.
        """
