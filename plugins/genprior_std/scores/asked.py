"""Scores of images that a model is asked for: by a label, by a category or by a text."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genprior import ImageSet, Model, Score, ScoreError, generate_labels
from genprior_std.scores.classifier import check_classes

__all__ = ["AskedScore", "ClassifiedScore"]

_SCORED_OTHERWISE = {
    "label": "is asked for labels: score it by 'label_accuracy'",
    "category": "is asked for categories that it found without labels: score it by 'category_purity'",
    "text": "is asked by a text: score it by 'caption_accuracy'",
    "nothing": "cannot be asked for images of a kind",
}
_TAKES = {
    "label": "a label (conditioner 'label', or 'infogan' with supervised = true)",
    "category": "a category (conditioner 'infogan' with a categorical code)",
    "text": "a text (conditioner 'sentence')",
}


class AskedScore(Score):
    """A score that asks the model for images; it draws them itself, under a seed of its own."""

    needs_generated = True
    kinds: tuple[str, ...]
    """What the model may be asked for by, see `genprior.Asks`."""

    @property
    def samples(self) -> None:
        """None: the images that other scores share are not asked for, so they are no use here."""
        return

    def check_asks(self, model: Model, at_least: int = 1) -> None:
        """Refuse a model that cannot be asked in this way, or for fewer labels or categories than `at_least`.

        Raises:
            ScoreError: says what the model can be asked for, and which models this score can measure.
        """
        kind, number = model.asks
        if kind not in self.kinds:
            takes = " or ".join(_TAKES[each] for each in self.kinds)
            raise ScoreError(
                f"model '{model.name}' {_SCORED_OTHERWISE[kind]}; '{self.name}' needs a model that takes {takes}. "
                "Leave the score out of this row, or use another model"
            )
        if number < at_least and kind != "text":
            raise ScoreError(
                f"model '{model.name}' can be asked for {number} {_plural(kind)}; '{self.name}' needs at least "
                f"{at_least}. Leave the score out of this row"
            )

    def draw_in_turn(self, model: Model, seed: int, samples: int) -> tuple[Tensor, Tensor]:
        """Labels i mod K, int64 [samples], and an image of each, uint8 [samples, c, h, w]; K labels or categories.

        More samples begin with the images of fewer.

        Raises:
            ScoreError: there are fewer samples than labels or categories.
        """
        self.check_enough(model, samples)
        y = torch.arange(samples) % model.asks.number
        return y, generate_labels(model, y, seed=seed, stream=self.name, whole_batches=True)

    def check_enough(self, model: Model, samples: int) -> None:
        """Refuse fewer samples than the model can be asked for labels or categories.

        Raises:
            ScoreError: names a number of samples that works.
        """
        kind, number = model.asks
        if samples < number:
            raise ScoreError(
                f"'{self.name}' of {samples} samples has none of some of the {number} {_plural(kind)} of model "
                f"'{model.name}'; set samples to at least {number}"
            )


class ClassifiedScore(AskedScore):
    """A score of `samples` images, of each label or category in turn, which the classifier of the classes judges."""

    rehearsed = False

    def check_row(self, model: Model, load: Callable[[str], ImageSet]) -> None:
        """Refuse a model of another kind, fewer samples than labels or categories, and images without classes.

        Raises:
            ScoreError: says what the model or the data lacks.
        """
        self.check_asks(model)
        self.check_enough(model, self.config.samples)
        check_classes(load("train"))


def _plural(kind: str) -> str:
    return "categories" if kind == "category" else "labels"
