"""Sampling of images from a trained model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from genprior.data.images import to_uint8
from genprior.parts import Model
from genprior.randomness import seeded

__all__ = ["evaluating", "generate"]

CHUNK = 500
"""Images per batch; fixed, because the images of a seed depend on it."""


@contextlib.contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Evaluation mode without gradients inside the block; each module's mode is restored after it."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def generate(model: Model, n: int, *, seed: int, label: int | None = None) -> Tensor:
    """The first n images of the sequence that a seed determines.

    Args:
        model: generates in evaluation mode, with running batch statistics.
        n: the number of images.
        seed: draws codes and conditions; a longer sequence begins with the shorter one.
        label: the class of the images; None draws conditions.

    Returns:
        uint8 [n, c, h, w] on the host.
    """
    device = next(model.parameters()).device
    chunks = []
    with evaluating(model):
        for start in range(0, n, CHUNK):
            like = torch.zeros(CHUNK, device=device)
            y = None if label is None else torch.full((CHUNK,), label, device=device, dtype=torch.int64)
            with seeded(seed, "generate", start // CHUNK):
                images = to_uint8(model.generate(model.condition(like, y)))
            chunks.append(images[: n - start].cpu())
    return torch.cat(chunks)
