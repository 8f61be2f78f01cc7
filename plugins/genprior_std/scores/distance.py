"""The base of scores that compare two sets of images in features of one of three networks, or in pixels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator
from torch import Tensor

from genprior import (
    Column,
    Extractor,
    ImageSet,
    LocalPath,
    Model,
    PartConfig,
    SampleContext,
    SampleScore,
    ScoreContext,
    ScoreError,
    sample_context,
)
from genprior_std.scores import classifier, pixels, random_features
from genprior_std.scores.entropy import random_rows
from genprior_std.scores.inception import check_channels, describe_network, inception

__all__ = ["DistanceConfig", "DistanceScore", "Network"]

Network = Literal["inception", "classifier", "random"]


class _Naming(NamedTuple):
    """How results of a network are told from those of Inception, which papers print."""

    prefix: str
    """Of their keys."""
    suffix: str
    """Of the titles of their columns."""
    caveat: str
    """Below a table that shows them."""


_NAMING: dict[str, _Naming] = {
    "inception": _Naming("", "", ""),
    "classifier": _Naming("classifier_", " (classifier)", classifier.CAVEAT),
    "random": _Naming("random_features_", " (random features)", random_features.CAVEAT),
    "pixels": _Naming("pixel_", " (pixels)", ""),
}


class DistanceConfig(PartConfig):
    """Which images are compared, and through which network."""

    extractor: Network = "inception"
    """Inception as in the literature, a classifier of the data's own classes, or untrained with random weights."""
    samples: int = Field(default=50_000, gt=1)
    """How many generated images."""
    reference: Literal["train", "test", "all"] = "train"
    """Which real images they are compared with."""
    weights: LocalPath | None = None
    """A local file of Inception's weights, kept as an absolute path; downloaded if not given."""

    @model_validator(mode="after")
    def _weights_are_of_inception(self) -> DistanceConfig:
        extractor: str = self.extractor  # a subclass may have more choices
        if self.weights is not None and extractor != "inception":
            has = "none" if extractor == "pixels" else "its own"
            raise ValueError(
                f"'weights' are those of the Inception network, and extractor is '{extractor}', which has {has}; "
                "leave 'weights' out, or set extractor = \"inception\""
            )
        return self


class DistanceScore(SampleScore):
    """Generated features against real ones.

    Keys begin with `classifier_` where the classifier gave the features, with `random_features_` where the untrained
    network did, and the titles of columns say so. Against the training split, the held-out test split is measured in
    the same way as `real_<key>`: what perfect samples would score. As many of its images are taken as generated ones
    (at random under a fixed seed), or all where there are fewer; `real_<key>_images` is their number.
    """

    rehearsed = False
    titles: ClassVar[dict[str, tuple[str, bool | None]]]
    """Key under Inception -> title in tables, and whether higher is better."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of tables; those of another network than Inception are marked as such."""
        naming = self._naming
        return tuple(
            Column(f"{naming.prefix}{key}", f"{title}{naming.suffix}", higher)
            for key, (title, higher) in self.titles.items()
        )

    @property
    def caveat(self) -> str:
        """The caveat that tables show with scores of another network than Inception."""
        return self._naming.caveat

    @property
    def prefix(self) -> str:
        """How keys begin that are not of Inception's features."""
        return self._naming.prefix

    @property
    def _naming(self) -> _Naming:
        return _NAMING[self.config.extractor]

    def on_undivided(self) -> PartConfig:
        """Its settings with all real images as the reference, and none held out."""
        config: PartConfig = self.config.model_copy(update={"reference": "test"})
        return config

    def protocol(self, settings: Mapping[str, Any], network: str) -> list[str]:
        """The protocol in words; the weights are part of the network."""
        words = super().protocol({key: value for key, value in settings.items() if key != "weights"}, network)
        if self.config.extractor == "random":
            return [random_features.DESCRIPTION, *words]
        undescribed = self.config.extractor == "inception" and not network
        return [describe_network(settings), *words] if undescribed else words

    def facts(self, key: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Its settings, and how many real images `reference` is, where the data set says it."""
        splits, reference = data.get("images_of_splits", {}), self.config.reference
        names = ("train", "test") if reference == "all" else (reference,)
        known = {"reference_images": sum(splits[name] for name in names)} if splits.keys() >= set(names) else {}
        return {**super().facts(key, data), **known}

    def check_row(self, model: Model, load: Callable[[str], ImageSet]) -> None:
        """Refuse too few samples or real images, and images that the network does not take.

        Raises:
            ScoreError: there are too few, or images are neither grey nor in colour.
        """
        super().check_row(model, load)
        if self.config.extractor == "inception":
            check_channels(load("train").images)
        reference = self.config.reference
        images = sum(len(load(split).images) for split in (("train", "test") if reference == "all" else (reference,)))
        if images < 2 or not self.enough(images):
            settings = self.config.model_dump()
            lower = "".join(f", lower {name} = {settings[name]}" for name in self.filled)
            raise ScoreError(
                f'it compares with real images, of which reference = "{reference}" has {images}, and that is too few; '
                f"use a larger data set{lower}, or leave the score out"
            )

    @abstractmethod
    def compare(self, generated: Tensor, real: Tensor) -> dict[str, float]:
        """The score of features [n, f] against real ones [m, f], by its key under Inception.

        Raises:
            ScoreError: there are too few images.
        """

    def enough(self, images: int) -> bool:
        """Whether that many held-out images can be measured; if not, `real_<key>` is left out."""
        return images > 1

    def extractor(self, context: SampleContext) -> Extractor:
        """The network of the settings.

        Raises:
            ScoreError: it is not available.
        """
        if self.config.extractor == "inception":
            return inception(context, self.config.weights)
        if self.config.extractor == "random":
            return random_features.random_features(context)
        if self.config.extractor == "pixels":
            return pixels.PixelExtractor()
        return classifier.classifier(context)

    def measure(self, context: ScoreContext) -> dict[str, float]:
        """The score, and against the training split that of the test split.

        Raises:
            ScoreError: there are too few images, or the network is not available.
        """
        full = sample_context(context)
        extractor = self.extractor(full)
        reference = full.features(extractor, self.config.reference).features
        generated = full.features(extractor, "generated", self.config.samples).features
        prefix = self.prefix
        results = {f"{prefix}{key}": value for key, value in self.compare(generated, reference).items()}
        if self.config.reference == "train":
            # As many as there are samples, if there are as many: most of these scores depend on the number of images.
            held_out = random_rows(full.features(extractor, "test").features, self.config.samples)
            if self.enough(len(held_out)):
                real = self.compare(held_out, reference)
                keys = [key for key in real if not key.endswith("_std")]
                results |= {f"real_{prefix}{key}": real[key] for key in keys}
                results |= {f"real_{prefix}{key}_images": float(len(held_out)) for key in keys}
        return results
