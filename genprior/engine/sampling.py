"""Sampling of images from a trained model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from genprior.data.images import images_to_float, to_uint8
from genprior.errors import PlanError
from genprior.parts import Batch, ImageSet, Model
from genprior.randomness import seeded

__all__ = ["as_batch", "evaluating", "generate"]

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


def as_batch(model: Model, images: ImageSet, device: torch.device | str) -> Batch:
    """Images as a batch of the model, each with the vector of its first caption if the model reads text.

    Args:
        model: its embedder makes the vectors.
        images: n of them, with their labels and, if the model reads text, their captions.
        device: where the model is.

    Raises:
        PlanError: the model is conditioned on text, and the images have no captions.
    """
    x = images_to_float(images.images.to(device))
    embedder, text = model.embedder, None
    if embedder is not None:
        if not images.captions:
            raise PlanError(
                f"model '{model.name}' is conditioned on text, and these images have no captions; use a data set with "
                "captions"
            )
        text = embedder.embed([some[0] for some in images.captions]).to(device)
    return Batch(x, images.labels.to(device), text=text)
