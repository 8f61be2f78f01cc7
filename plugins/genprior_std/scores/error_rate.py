"""The error rate of models that classify."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch

from genprior import HIDDEN_LABEL, Batch, Column, PartConfig, Score, ScoreContext, ScoreError, needed_split
from genprior_std.answers import answers_in_batches
from genprior_std.scores.validation import HOLD_BACK

__all__ = ["ErrorRate"]


class ErrorRate(Score):
    """The share of test images, in percent, whose most likely class is not their label; lower is better.

        error_rate = 100 / N sum_n [argmax_y q(y | x_n) != y_n]

    q(y | x) is the model's own, in evaluation mode. The model gets only the images: their labels are hidden from it.
    With few labels the error depends on which images are labelled, so published numbers are means over several draws.

    References:
        Makhzani et al., Adversarial Autoencoders, 2015, section 5 and table 2; Makhzani and Frey, PixelGAN
        Autoencoders, 2017, table 1.
    """

    name = "error_rate"
    higher_is_better = False

    class Config(PartConfig):
        """The split."""

        split: Literal["test", "validation"] = "test"
        """The images that are classified."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of tables."""
        return (Column("error_rate", "error %", False),)

    @property
    def needs(self) -> Mapping[str, str]:
        """The split that is classified."""
        return {} if self.config.split == "test" else {self.config.split: f'{HOLD_BACK}, or set split = "test"'}

    def measure(self, context: ScoreContext) -> dict[str, float]:
        """The error in percent.

        Raises:
            ScoreError: the model does not classify, or the data has no labels or not the split.
        """
        images = needed_split(self, self.config.split, context.real)
        if not images.classes:
            raise ScoreError("an error rate compares classes with labels, and this data set has no labels")
        with context.trained() as model:
            q = answers_in_batches(
                images,
                lambda batch: model.classify(_unlabelled(batch)),
                model=model,
                device=context.device,
                seed=context.seed,
            )
            if q is None:
                raise ScoreError(
                    f"model '{model.name}' does not classify images, so it has no error rate. Models that implement "
                    "`classify`: 'aae_semi_supervised', 'aae_dimension_reduction' with labels = true, "
                    "'pixelgan_semi_supervised' and 'labels_alone'. Clusters that were found without labels are scored "
                    "by 'cluster_error'"
                )
        return {"error_rate": 100 * float((q.argmax(1) != images.labels).double().mean())}


def _unlabelled(batch: Batch) -> Batch:
    return Batch(batch.x, torch.full_like(batch.y, HIDDEN_LABEL))
