"""A model's outputs for many images, computed in batches."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genprior import Batch, ImageSet, images_to_float, seeded

__all__ = ["BATCH", "answers_in_batches"]

BATCH = 500
"""Images per batch; the random numbers depend on it, so it is a constant."""


def answers_in_batches(
    images: ImageSet,
    predict: Callable[[Batch], Tensor | None],
    *,
    device: torch.device | str,
    seed: int,
    size: int = BATCH,
) -> Tensor | None:
    """The model's outputs for each image, [n, ...] on the host; None if it has none.

    Args:
        images: n of them, with their labels.
        predict: a method of the model that returns a row for each image of a batch, or None.
        device: where the model is.
        seed: each batch is seeded by it and the index of the batch.
        size: images in a batch.
    """
    outputs = []
    pieces = zip(torch.split(images.images, size), torch.split(images.labels, size), strict=True)
    for index, (x, y) in enumerate(pieces):
        with seeded(seed, "chunks", index):
            rows = predict(Batch(images_to_float(x.to(device)), y.to(device)))
        if rows is None:
            return None
        outputs.append(rows.cpu())
    return torch.cat(outputs)
