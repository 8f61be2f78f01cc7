"""Selection of the training images that keep their label (`run.labels`)."""

from __future__ import annotations

import torch
from torch import Tensor

from genprior.errors import DataError
from genprior.parts import ImageSet

__all__ = ["HIDDEN_LABEL", "balanced", "count_of"]

HIDDEN_LABEL = -1
"""Marks an image whose label is hidden from training."""


def count_of(labels: float | None, images: int) -> int | None:
    """The number of `images` that keep their label; `labels` is a number, a share below 1, or None for all."""
    return labels if labels is None or isinstance(labels, int) else round(labels * images)


def balanced(image_set: ImageSet, count: int, generator: torch.Generator) -> Tensor:
    """Choose the images that keep their label: equally many of each class, drawn without replacement.

    If `count` is not a multiple of the number of classes, randomly drawn classes have one more. A class with fewer
    images than its share keeps all of them, and the others share the rest, so that `count` = n selects the whole set.

    Args:
        image_set: the training split, n images of K classes.
        count: the number of images.
        generator: draws, on the host.

    Returns:
        Their indices in the split, int64 [count], ascending.

    Raises:
        DataError: the set has no labels, there are fewer images than `count`, or `count` is less than K.
    """
    labels, classes = image_set.labels, len(image_set.classes)
    if not classes:
        raise DataError(
            f"run.labels = {count}, but this data set has no labels; use a labelled data set, or leave run.labels out"
        )
    if not classes <= count <= len(labels):
        raise DataError(
            f"run.labels = {count}, but each of the {classes} classes needs at least one label, and there are "
            f"{len(labels)} training images; choose {classes} to {len(labels)}"
        )
    order = torch.randperm(len(labels), generator=generator)
    class_order = torch.randperm(classes, generator=generator)
    # Each image's rank within its class, in the drawn order; the lowest ranks are chosen, class by class.
    drawn_labels = labels[order]
    rank = torch.empty_like(order)
    turn = torch.empty(classes, dtype=torch.int64)
    turn[class_order] = torch.arange(classes)
    for k in range(classes):
        of_class = drawn_labels == k
        rank[of_class] = torch.arange(int(of_class.sum()))
    chosen = order[torch.argsort(rank * classes + turn[drawn_labels])[:count]]
    return chosen.sort().values
