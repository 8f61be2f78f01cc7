"""Helpers of likelihood scores: the model, the test images in blocks, and codes in pieces.

Noise is seeded by (seed, block of images) and drawn piece by piece, so memory is bounded. The random numbers depend on
the sizes of blocks and pieces, so these are constants and not settings.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from genprior import Draws, Inference, LikelihoodModel, ScoreContext, ScoreError, as_batch, seeded
from genprior_std.scores.entropy import random_rows

__all__ = [
    "BLOCK",
    "PIECE",
    "draw_in_pieces",
    "infer_in_blocks",
    "likelihood_model",
    "log_sum_exp",
    "standard_error",
]

BLOCK = 100
"""Images that are encoded at a time."""
PIECE = 25
"""Codes that are drawn for each image of a block at a time: 2,500 images are decoded at once."""
DENSITIES = {"prior": "'gaussian', 'resampled', 'vampprior'", "fitted_prior": "'gaussian_mixture', 'kde', 'flow'"}
"""Priors with a density to choose, by the setting that names the prior."""


@contextlib.contextmanager
def likelihood_model(context: ScoreContext, *, prior: bool = True) -> Iterator[LikelihoodModel]:
    """The trained model inside a `with` block, as a model with p(x, z) and q(z | x).

    Args:
        context: gives the model.
        prior: whether the numbers of log p(z) are needed.

    Raises:
        ScoreError: there are only images, or the model's densities are not known.
    """
    with context.trained() as model:
        if not isinstance(model, LikelihoodModel):
            raise ScoreError(
                f"it needs p(x, z) and q(z | x), and model '{model.name}' does not know these densities; models vae, "
                "iwae, hvae and ncrp_vae do. The images of any model can be scored with 'parzen' or 'classifier_score'"
            )
        if prior and not model.prior_normalised:
            name = model.code_prior.name if model.code_prior is not None else "none"
            role = "prior" if model.part_for("fitted_prior") is None else "fitted_prior"
            raise ScoreError(
                f"it needs log p(z), and {role} '{name}' of this model '{model.name}' has no log_prob: it can only be "
                f"sampled, or its density is known only up to a constant. Use a {role} with a density "
                f"({DENSITIES[role]}), or score the images with 'parzen' or 'classifier_score'"
            )
        yield model


def infer_in_blocks(context: ScoreContext, model: LikelihoodModel, images: int | None) -> Iterator[Inference]:
    """Infer test images, in blocks; a block's codes must be drawn before the next block is requested.

    Args:
        context: gives the test split, the device, and the seed of the codes.
        model: in evaluation mode.
        images: at most so many, chosen under a fixed seed; all if None.
    """
    test = context.real("test")
    n = len(test.images)
    chosen = random_rows(torch.arange(n), n if images is None else images)
    for index, block in enumerate(torch.split(chosen, BLOCK)):
        batch = as_batch(model, test.take(block), context.device)
        with seeded(context.seed, "likelihood", index):
            yield model.infer(batch)


def draw_in_pieces(inference: Inference, samples: int) -> Iterator[Draws]:
    """The `samples` codes of each image, in pieces of [s, n, d] with s at most `PIECE`."""
    for start in range(0, samples, PIECE):
        yield inference.draw(min(PIECE, samples - start))


def log_sum_exp(pieces: Iterable[Tensor]) -> Tensor:
    """The logarithm of sum_s exp a_s over the rows of all pieces a [s, n], one at a time, in float64: [n]."""
    return functools.reduce(torch.logaddexp, (piece.double().logsumexp(0) for piece in pieces))


def standard_error(name: str, values: Tensor) -> dict[str, float]:
    """Their standard deviation over the root of their number, as `<name>_standard_error`; empty for one value."""
    n = len(values)
    return {f"{name}_standard_error": float(values.std()) / n**0.5} if n > 1 else {}
