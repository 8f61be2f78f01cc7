"""How far the samples of a category that was found without labels are of one class."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from genprior import Column, PartConfig, ScoreContext, sample_context
from genprior_std.scores.asked import ClassifiedScore
from genprior_std.scores.classifier import CAVEAT, classifier

__all__ = ["CategoryPurity"]


class CategoryPurity(ClassifiedScore):
    """The share of a category's samples that are of its most frequent class, in percent; higher is better.

        category_purity = 100 / K sum_k max_c n_kc / n_k

    n_k is the number of samples of category k, n_kc how many of them the classifier, trained on the training split,
    gives to class c. Categories have equally many samples. `classes_named` is the number of classes that are the most
    frequent one of some category: purity alone does not tell whether two categories show the same class.
    `real_category_purity` is that of held-out real images with their classes as categories: what the classifier's own
    errors leave. The maximum is biased upwards where a category has few samples. Clusters of real images, which an
    encoder or a head Q finds, are scored by `cluster_error`.
    """

    name = "category_purity"
    higher_is_better = True
    caveat = CAVEAT
    kinds = ("category",)

    class Config(PartConfig):
        """How many images are scored."""

        samples: int = Field(default=5_000, gt=0)
        """How many generated images, of each category in turn."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of tables."""
        return (Column(self.name, "category purity %", True), Column("classes_named", "classes named", True))

    def measure(self, context: ScoreContext) -> dict[str, float]:
        """The purity of samples and of held-out real images in percent, and how many classes are named.

        Raises:
            ScoreError: the model has no categories, or the data no labels.
        """
        full = sample_context(context)
        with full.trained() as model:
            self.check_row(model, full.real)
            categories, images = self.draw_in_turn(model, full.seed, self.config.samples)
        judge, test = classifier(full), full.real("test")
        counts = count_pairs(categories, judge.classes_of(images), judge.classes)
        real = count_pairs(test.labels, full.features(judge, "test").logits.argmax(1), judge.classes)
        return {
            self.name: purity(counts),
            f"real_{self.name}": purity(real),
            "classes_named": float(len(torch.unique(counts.argmax(1)))),
        }


def count_pairs(categories: Tensor, classes: Tensor, number: int) -> Tensor:
    """The matrix n_kc, float64 [K, number], of categories and classes int64 [n]; without categories of no image."""
    counts = torch.zeros(int(categories.max()) + 1, number, dtype=torch.float64)
    counts.index_put_((categories, classes), torch.ones(len(classes), dtype=torch.float64), accumulate=True)
    return counts[counts.sum(1) > 0]


def purity(counts: Tensor) -> float:
    """The mean over categories of the share of their most frequent class, in percent, of counts [K, classes]."""
    return 100 * float((counts.max(1).values / counts.sum(1)).mean())
