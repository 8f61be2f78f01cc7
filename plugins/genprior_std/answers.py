"""A model's outputs for many images, computed in batches."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genprior import Batch, ImageSet, Model, as_batch, seeded

__all__ = ["BATCH", "answers_in_batches"]

BATCH = 500
"""Images per batch; the random numbers depend on it, so it is a constant."""


def answers_in_batches(
    images: ImageSet,
    predict: Callable[[Batch], Tensor | None],
    *,
    model: Model,
    device: torch.device | str,
    seed: int,
    size: int = BATCH,
) -> Tensor | None:
    """The model's outputs for each image, [n, ...] on the host; None if it has none.

    Args:
        images: n of them, with their labels.
        predict: a method of the model that returns a row for each image of a batch, or None.
        model: the model whose method `predict` is; its embedder makes the vectors of captions, if it reads text.
        device: where the model is.
        seed: each batch is seeded by it and the index of the batch.
        size: images in a batch.
    """
    outputs = []
    for index, start in enumerate(range(0, len(images.images), size)):
        with seeded(seed, "chunks", index):
            rows = predict(as_batch(model, images.take(slice(start, start + size)), device))
        if rows is None:
            return None
        outputs.append(rows.cpu())
    return torch.cat(outputs)
