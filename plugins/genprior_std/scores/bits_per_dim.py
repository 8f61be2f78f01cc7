"""Bits per dimension: the cost of a test image in bits for each of its pixels and channels."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from genprior import Column, ImageSet, LikelihoodModel, PartConfig, Score, ScoreContext, ScoreError
from genprior_std.answers import answers_in_batches
from genprior_std.scores.entropy import random_rows
from genprior_std.scores.likelihood import BLOCK, draw_in_pieces, infer_in_blocks, standard_error
from genprior_std.scores.nll import level_width

__all__ = ["BitsPerDimension"]


class _LogLikelihoods(NamedTuple):
    """The images' log-likelihoods as far as the model gives them, [n] in nats each."""

    log_p: Tensor | None
    given_code: Tensor | None
    width: float


class BitsPerDimension(Score):
    """-log2 p(x) of test images for each of their D = c h w sub-pixels; lower is better.

        bits_per_dim            = E[-log p(x)] / (D ln 2) - log2(width)
        bits_per_dim_given_code = E[-log p(x | z(x))] / (D ln 2)

    Each is written if the model gives it. The first is exact where the model gives log p(x) itself, and an upper
    bound by the ELBO, with one code drawn for each image, where it infers codes by a density. As in score `nll`, which
    has a better estimate of the same number for such models and writes the same key, the width is 2/255 if p(x | z) is
    a density on [-1, 1], and 1 if it is a probability.

    The second leaves out the cost of the code z(x). It measures how well an image is reconstructed from its code and is
    not a bound: a code that holds the whole image brings it to 0. Do not compare it with the first.

    References:
        Makhzani and Frey, PixelGAN Autoencoders, 2017, section 2 (E log p(x | z)); van den Oord et al., Pixel Recurrent
        Neural Networks, 2016, section 5 (bits for each dimension).
    """

    name = "bits_per_dim"
    higher_is_better = False
    at_most = ("images",)

    class Config(PartConfig):
        """How many images."""

        images: int | None = Field(default=None, ge=1)
        """The largest number of test images, chosen under a fixed seed; all if not given."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of tables."""
        return (
            Column("bits_per_dim", "bits/dim", False, "the model does not give p(x), or only up to a constant"),
            Column(
                "bits_per_dim_given_code",
                "bits/dim given the code (no bound)",
                False,
                "the model does not give p(x | z) of an autoregressive decoder",
            ),
        )

    def measure(self, context: ScoreContext) -> dict[str, float]:
        """Both means over test images, and their standard errors, as far as the model gives them.

        Raises:
            ScoreError: the model gives neither, or there are only images and no model.
        """
        test = context.real("test")
        nats_a_bit = test.images[0].numel() * math.log(2)
        log_p, given_code, width = self._log_likelihoods(context, test)
        results: dict[str, float] = {}
        for key, nats, level in (("bits_per_dim", log_p, width), ("bits_per_dim_given_code", given_code, 1.0)):
            if nats is not None:
                bits = -nats.double() / nats_a_bit - math.log2(level)
                results |= {key: float(bits.mean()), **standard_error(key, bits)}
        return results

    def _log_likelihoods(self, context: ScoreContext, test: ImageSet) -> _LogLikelihoods:
        chosen = random_rows(torch.arange(len(test.images)), self.config.images or len(test.images))
        images = test.take(chosen)
        width = 1.0
        with context.trained() as model:
            log_p, given_code = (
                answers_in_batches(images, predict, model=model, device=context.device, seed=context.seed, size=BLOCK)
                for predict in (model.log_likelihood, model.log_likelihood_given_code)
            )
            if log_p is None and isinstance(model, LikelihoodModel) and model.normalised and model.prior_normalised:
                blocks = infer_in_blocks(context, model, self.config.images)
                log_p = torch.cat(
                    [draws.log_weight[0] for inference in blocks for draws in draw_in_pieces(inference, 1)]
                ).cpu()
                width = level_width(model)
            if log_p is None and given_code is None:
                raise ScoreError(
                    f"model '{model.name}' gives neither p(x) nor p(x | z) of an image, or only up to "
                    "a constant. Models that do: 'pixelcnn', 'pixelgan', and 'vae' with an exact reconstruction such "
                    'as { name = "pixel", metric = "gaussian", sigma = 0.1, reduction = "sum" }. The images of any '
                    "model can be scored with 'parzen' or 'classifier_score'"
                )
        return _LogLikelihoods(log_p, given_code, width)
