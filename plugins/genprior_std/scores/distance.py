"""The base of FID, KID and precision/recall: two sets of features, by one of two networks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

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
    sample_context,
)
from genprior_std.scores.classifier import CAVEAT, classifier
from genprior_std.scores.inception import check_channels, describe_network, inception

__all__ = ["DistanceConfig", "DistanceScore"]


class DistanceConfig(PartConfig):
    """Which images are compared, and through which network."""

    extractor: Literal["inception", "classifier"] = "inception"
    """The network: Inception as in the literature, or a classifier of the data set's own classes."""
    samples: int = Field(default=50_000, gt=1)
    """How many generated images."""
    reference: Literal["train", "test", "all"] = "train"
    """Which real images they are compared with."""
    weights: LocalPath | None = None
    """A local file of Inception's weights, kept as an absolute path; downloaded if not given."""

    @model_validator(mode="after")
    def _weights_are_of_inception(self) -> DistanceConfig:
        if self.weights is not None and self.extractor != "inception":
            raise ValueError(
                f"'weights' are those of the Inception network, and extractor is '{self.extractor}', which is "
                "trained on the data set; leave 'weights' out, or set extractor = \"inception\""
            )
        return self


class DistanceScore(SampleScore):
    """Generated features against real ones. Keys begin with `classifier_` where the classifier gave the features.

    Against the training split, the held-out test split is measured in the same way as `real_<key>`: what perfect
    samples would score.
    """

    titles: ClassVar[dict[str, tuple[str, bool]]]
    """Key under Inception -> title in tables, and whether higher is better."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of tables; those of the classifier are marked as such."""
        if self.config.extractor == "inception":
            return tuple(Column(key, title, higher) for key, (title, higher) in self.titles.items())
        return tuple(
            Column(f"classifier_{key}", f"{title} (classifier)", higher) for key, (title, higher) in self.titles.items()
        )

    @property
    def caveat(self) -> str:
        """The caveat that tables show with scores of the classifier."""
        return CAVEAT if self.config.extractor == "classifier" else ""

    def on_undivided(self) -> PartConfig:
        """Its settings with all real images as the reference, and none held out."""
        config: PartConfig = self.config.model_copy(update={"reference": "test"})
        return config

    def protocol(self, settings: Mapping[str, Any], network: str) -> list[str]:
        """The protocol in words; the weights are part of the network."""
        words = super().protocol({key: value for key, value in settings.items() if key != "weights"}, network)
        return words if network or self.config.extractor == "classifier" else [describe_network(settings), *words]

    def check_row(self, model: Model, load: Callable[[str], ImageSet]) -> None:
        """Refuse images that the network does not take.

        Raises:
            ScoreError: they are neither grey nor in colour.
        """
        if self.config.extractor == "inception":
            check_channels(load("train").images)

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
        return classifier(context)

    def measure(self, context: ScoreContext) -> dict[str, float]:
        """The score, and against the training split that of the test split.

        Raises:
            ScoreError: there are too few images, or the network is not available.
        """
        full = sample_context(context)
        extractor = self.extractor(full)
        reference = full.features(extractor, self.config.reference).features
        generated = full.features(extractor, "generated", self.config.samples).features
        prefix = "" if self.config.extractor == "inception" else "classifier_"
        results = {f"{prefix}{key}": value for key, value in self.compare(generated, reference).items()}
        if self.config.reference == "train":
            held_out = full.features(extractor, "test").features
            if self.enough(len(held_out)):
                real = self.compare(held_out, reference)
                results |= {f"real_{prefix}{key}": value for key, value in real.items() if not key.endswith("_std")}
        return results
