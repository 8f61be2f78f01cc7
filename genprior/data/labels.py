"""Which training images keep their label, where training may see few of them."""

from __future__ import annotations

import torch
from torch import Tensor

from genprior.errors import DataError
from genprior.parts import ImageSet

__all__ = ["HIDDEN_LABEL", "balanced", "count_of"]

HIDDEN_LABEL = -1
"""The label of an image whose label training may not see."""


def count_of(labels: float | None, images: int) -> int | None:
    """How many of so many images keep their label, where `labels` is a number, a share below 1, or None for all."""
    return labels if labels is None or isinstance(labels, int) else round(labels * images)


def balanced(image_set: ImageSet, count: int, generator: torch.Generator) -> Tensor:
    """Choose images that keep their label: as many of each class, drawn without replacement.

    Where `count` is no multiple of the number of classes, classes drawn at random have one more. A class with fewer
    images than its share keeps all of them, and the others share what is left, so that `count` images at the size of
    the set are the whole set.

    Args:
        image_set: the training split, n images of K classes.
        count: how many images.
        generator: draws, on the host.

    Returns:
        Their places in the split, int64 [count], ascending.

    Raises:
        DataError: the set has no labels, there are fewer images than `count`, or `count` is less than K.
    """
    labels, classes = image_set.labels, len(image_set.classes)
    if not classes:
        raise DataError(
            f"run.labels = {count} keeps the labels of so many images, and this data set has no labels; "
            "use a labelled one, or leave run.labels out"
        )
    if not classes <= count <= len(labels):
        raise DataError(
            f"run.labels = {count} is to keep the labels of so many training images, and there are {len(labels)} of "
            f"{classes} classes, of each of which one is needed; choose {classes} to {len(labels)}"
        )
    order = torch.randperm(len(labels), generator=generator)
    lucky = torch.randperm(classes, generator=generator)
    # Each image's place among those of its class, in the drawn order; the lowest places are chosen, class by class.
    mine = labels[order]
    place = torch.empty_like(order)
    turn = torch.empty(classes, dtype=torch.int64)
    turn[lucky] = torch.arange(classes)
    for k in range(classes):
        of_class = mine == k
        place[of_class] = torch.arange(int(of_class.sum()))
    chosen = order[torch.argsort(place * classes + turn[mine])[:count]]
    return chosen.sort().values
