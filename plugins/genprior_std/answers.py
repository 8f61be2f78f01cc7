"""What a model says of many images, some at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genprior import Batch, ImageSet, ScoreContext, images_to_float, seeded

__all__ = ["CHUNK", "HOLD_BACK", "by_chunks"]

CHUNK = 500
"""Images that a model sees at a time; part of what a seed means, so it is fixed."""

HOLD_BACK = (
    "Hold images back from training by `validation` in [data], which data sets mnist, fashion_mnist and digits have"
)
"""What to do where a score needs the split `validation`."""


def by_chunks(
    context: ScoreContext, images: ImageSet, ask: Callable[[Batch], Tensor | None], chunk: int = CHUNK
) -> Tensor | None:
    """What a trained model answers for each image, [n, ...] on the host; None where it has no answer.

    Args:
        context: gives the device, and the seed that the answers on a chunk are drawn under.
        images: n of them, with their labels.
        ask: a method of the model, called inside `context.trained()`: answers a row for each image of a batch, or None.
        chunk: images at a time.
    """
    found = []
    pieces = zip(torch.split(images.images, chunk), torch.split(images.labels, chunk), strict=True)
    for index, (x, y) in enumerate(pieces):
        with seeded(context.seed, "chunks", index):
            answer = ask(Batch(images_to_float(x.to(context.device)), y.to(context.device)))
        if answer is None:
            return None
        found.append(answer.cpu())
    return torch.cat(found)
