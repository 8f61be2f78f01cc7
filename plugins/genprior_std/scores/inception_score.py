"""The Inception score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field

from genprior import Column, ImageSet, LocalPath, Model, PartConfig, SampleScore, ScoreContext, sample_context
from genprior_std.scores.entropy import score_samples_and_real
from genprior_std.scores.inception import check_channels, describe_network, inception

__all__ = ["InceptionScore"]


class InceptionScore(SampleScore):
    """exp(E_x KL(p(y|x) || p(y))) under the Inception network: higher where images are clear and of many classes.

    Writes `inception_score`, `inception_score_std` over the splits, and `real_inception_score` of held-out real
    images in splits of the same size. 50,000 samples in 10 splits are the protocol of published numbers; fewer score
    lower. Real CIFAR-10 scores 11.24 +- 0.12 by this protocol.

    References:
        Salimans et al., Improved Techniques for Training GANs, 2016, section 4, https://arxiv.org/abs/1606.03498
    """

    rehearsed = False
    name = "inception_score"
    title = "Inception score"
    higher_is_better = True
    filled = {"splits": 0}

    class Config(PartConfig):
        """How many images are scored, and through which file of weights."""

        samples: int = Field(default=50_000, gt=0)
        """How many generated images."""
        splits: int = Field(default=10, gt=0)
        """Into how many equal parts they are split; the score is the mean of the parts'."""
        weights: LocalPath | None = None
        """A local file of the network's weights, kept as an absolute path; downloaded if not given."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of tables."""
        return (Column(self.name, self.title, self.higher_is_better),)

    def protocol(self, settings: Mapping[str, Any], network: str) -> list[str]:
        """The protocol in words; the weights are part of the network."""
        words = super().protocol({key: value for key, value in settings.items() if key != "weights"}, network)
        return words if network else [describe_network(settings), *words]

    def check_row(self, model: Model, load: Callable[[str], ImageSet]) -> None:
        """Refuse fewer samples than splits, and images that the network does not take.

        Raises:
            ScoreError: there are too few, or images are neither grey nor in colour.
        """
        super().check_row(model, load)
        check_channels(load("train").images)

    def measure(self, context: ScoreContext) -> dict[str, float]:
        """The score, its spread, and that of held-out real images.

        Raises:
            ScoreError: there are fewer images than splits, or the network's weights are not available.
        """
        full = sample_context(context)
        extractor = inception(full, self.config.weights)
        return score_samples_and_real(self.name, full, extractor, self.config.samples, self.config.splits)
