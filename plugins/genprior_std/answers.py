"""A model's answers on many images, asked in batches."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genprior import Batch, ImageSet, images_to_float, seeded

__all__ = ["BATCH", "answers_in_batches"]

BATCH = 500
"""Images that a model sees at a time; part of what a seed means, so it is fixed."""


def answers_in_batches(
    images: ImageSet,
    ask: Callable[[Batch], Tensor | None],
    *,
    device: torch.device | str,
    seed: int,
    size: int = BATCH,
) -> Tensor | None:
    """What a model answers for each image, [n, ...] on the host; None where it has no answer.

    Args:
        images: n of them, with their labels.
        ask: a method of the model, which answers a row for each image of a batch, or None.
        device: where the model is.
        seed: the answers on a batch are drawn under it and the batch's place.
        size: images in a batch.
    """
    found = []
    pieces = zip(torch.split(images.images, size), torch.split(images.labels, size), strict=True)
    for index, (x, y) in enumerate(pieces):
        with seeded(seed, "chunks", index):
            answer = ask(Batch(images_to_float(x.to(device)), y.to(device)))
        if answer is None:
            return None
        found.append(answer.cpu())
    return torch.cat(found)
