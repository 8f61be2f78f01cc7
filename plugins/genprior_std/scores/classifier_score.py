"""The classifier score: the formula of the Inception score under a classifier of the data set's own classes."""

from __future__ import annotations

from pydantic import Field

from genprior import Column, PartConfig, SampleScore, ScoreContext, sample_context
from genprior_std.scores.classifier import CAVEAT, classifier
from genprior_std.scores.entropy import score_samples_and_real

__all__ = ["ClassifierScore"]


class ClassifierScore(SampleScore):
    """exp(E_x KL(p(y|x) || p(y))) under a classifier trained on the training split; from 1 to the number of classes.

    It is not an Inception score, and not comparable with published ones. Writes `classifier_score`,
    `classifier_score_std` over the splits, and `real_classifier_score` of held-out real images (in splits of about
    the same size, as the score is biased downwards in small ones), the number to compare it with.

    References:
        Salimans et al., Improved Techniques for Training GANs, 2016, section 4 (the formula),
        https://arxiv.org/abs/1606.03498
    """

    rehearsed = False
    name = "classifier_score"
    title = "classifier score"
    higher_is_better = True
    caveat = CAVEAT
    filled = {"splits": 0}

    class Config(PartConfig):
        """How many images are scored."""

        samples: int = Field(default=5_000, gt=0)
        """How many generated images."""
        splits: int = Field(default=10, gt=0)
        """Into how many equal parts they are split; the score is the mean of the parts'."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of tables."""
        return (Column(self.name, self.title, self.higher_is_better),)

    def measure(self, context: ScoreContext) -> dict[str, float]:
        """The score, its spread, and that of held-out real images.

        Raises:
            ScoreError: there are fewer images than splits, or the data set has no labels.
        """
        full = sample_context(context)
        return score_samples_and_real(self.name, full, classifier(full), self.config.samples, self.config.splits)
