"""What scores of log p(x) share: the model that they look into, the test images in blocks, and codes in pieces.

Noise is drawn under (seed, block of images), piece by piece. Blocks and pieces are part of what a seed means, so their
sizes are fixed: memory is bounded whatever is asked for, and there is no setting that would change the random numbers.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from genprior import Batch, Draws, Inference, LikelihoodModel, ScoreContext, ScoreError, images_to_float, seeded
from genprior_std.scores.entropy import some

__all__ = ["BLOCK", "PIECE", "drawn", "inferred", "likelihood_model", "log_sum_exp", "standard_error"]

BLOCK = 100
"""Images that are encoded at a time."""
PIECE = 25
"""Codes that are drawn for each image of a block at a time: 2,500 images are decoded at once."""


@contextlib.contextmanager
def likelihood_model(context: ScoreContext) -> Iterator[LikelihoodModel]:
    """The trained model inside a `with` block, as one with p(x, z) and q(z | x).

    Raises:
        ScoreError: there are only images, or the model's densities are not known.
    """
    with context.trained() as model:
        if not isinstance(model, LikelihoodModel):
            raise ScoreError(
                f"it needs p(x, z) and q(z | x), and model '{model.name}' does not know these densities; models vae, "
                "iwae, hvae and ncrp_vae do. The images of any model can be scored with 'parzen' or 'classifier_score'"
            )
        yield model


def inferred(context: ScoreContext, model: LikelihoodModel, images: int | None) -> Iterator[Inference]:
    """What `model` infers about test images, in blocks; a block's codes must be drawn before the next is asked for.

    Args:
        context: gives the test split, the device, and the seed that the codes of a block are drawn under.
        model: in evaluation mode.
        images: at most so many, chosen under a fixed seed; all if None.
    """
    x, y, _ = context.real("test")
    chosen = some(torch.arange(len(x)), len(x) if images is None else images)
    for index, block in enumerate(torch.split(chosen, BLOCK)):
        batch = Batch(images_to_float(x[block].to(context.device)), y[block].to(context.device))
        with seeded(context.seed, "likelihood", index):
            yield model.infer(batch)


def drawn(inference: Inference, samples: int) -> Iterator[Draws]:
    """The `samples` codes of each image, in pieces of [s, n, d] with s at most `PIECE`."""
    for start in range(0, samples, PIECE):
        yield inference.draw(min(PIECE, samples - start))


def log_sum_exp(pieces: Iterable[Tensor]) -> Tensor:
    """The logarithm of sum_s exp a_s over the rows of all pieces a [s, n], one at a time, in float64: [n]."""
    return functools.reduce(torch.logaddexp, (piece.double().logsumexp(0) for piece in pieces))


def standard_error(name: str, values: Tensor) -> dict[str, float]:
    """Their standard deviation over the square root of their number, as `<name>_standard_error`; none of one value."""
    n = len(values)
    return {f"{name}_standard_error": float(values.std()) / n**0.5} if n > 1 else {}
