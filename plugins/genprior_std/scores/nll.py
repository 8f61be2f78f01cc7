"""The negative log-likelihood of test images, by importance sampling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field

from genprior import Column, LikelihoodModel, PartConfig, Score, ScoreContext, ScoreError
from genprior_std.scores.likelihood import (
    draw_in_pieces,
    infer_in_blocks,
    likelihood_model,
    log_sum_exp,
    standard_error,
)

__all__ = ["NegativeLogLikelihood", "level_width"]

LEVEL_WIDTH = 2 / 255
"""The distance of neighbouring bytes on the [-1, 1] scale."""


class NegativeLogLikelihood(Score):
    """-log p(x) of test images in nats, estimated by importance sampling with q(z | x); lower is better.

        nll(x) = -(log sum_s w_s - log S),    w_s = p(x | z_s) p(z_s) / q(z_s | x),    z_s ~ q(z | x)

    It is taken per image and then averaged. At finite S it lies above -log p(x) on average, by about Var(w) / (2 S
    p(x)^2), and falls towards it as S grows; at S = 1 it is the negative ELBO of score `elbo` with one draw, on the
    same codes.

    Writes `nll`, `nll_standard_error` over the images, and with D = c h w

        bits_per_dim = nll / (D ln 2) - log2(width)

    where the width is 1 if p(x | z) is a probability of levels (Bernoulli, discretised logistic), and 2/255 if it is a
    density on [-1, 1]: a byte's probability is about its density times the distance of two bytes. The model says which
    of the two it is (`density`). The term is right as long as the density hardly changes from one byte to the next
    (sigma well above 2/255).

    The codes depend only on the context's seed; they are drawn for 100 images and 25 draws at a time, for any
    `importance_samples`.

    References:
        Burda et al., Importance Weighted Autoencoders, 2016, equation 8 and section 5, with S = 5,000,
        https://arxiv.org/abs/1509.00519; Tomczak and Welling, VAE with a VampPrior, 2018, section 4.2.
    """

    name = "nll"
    higher_is_better = False
    at_most = ("images",)

    class Config(PartConfig):
        """The numbers of codes and of images."""

        importance_samples: int = Field(default=5_000, ge=1)
        """S, the number of codes drawn for each image; 5,000 are the protocol of published numbers."""
        images: int | None = Field(default=None, ge=1)
        """The largest number of test images, chosen under a fixed seed; all if not given."""
        optional: bool = False
        """Whether a model whose densities are not known has no number, in place of being refused: for recipes whose
        rows have priors with and without a density."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of tables."""
        absent = "p(z), q(z | x) or p(x | z) of the model is not known" if self.config.optional else ""
        return (Column("nll", "NLL (nats)", False, absent), Column("bits_per_dim", "bits/dim", False, absent))

    def protocol(self, settings: Mapping[str, Any], network: str) -> list[str]:
        """The protocol in words, of which `optional` is no part."""
        return super().protocol({key: value for key, value in settings.items() if key != "optional"}, network)

    def measure(self, context: ScoreContext) -> dict[str, float]:
        """The mean over test images, its standard error, and in bits for each pixel and channel.

        Raises:
            ScoreError: the model's densities are not known, or only up to a constant, and the score is not optional.
        """
        try:
            return self._measured(context)
        except ScoreError:
            if self.config.optional:
                return {}
            raise

    def _measured(self, context: ScoreContext) -> dict[str, float]:
        samples: int = self.config.importance_samples
        with likelihood_model(context) as model:
            if not model.normalised:
                raise ScoreError(
                    f"the reconstruction of model '{model.name}' is -log p(x | z) only up to a constant or a factor, "
                    'so log p(x) is not known. Use reconstruction = { name = "pixel", metric = "gaussian", '
                    'sigma = 0.1, reduction = "sum" }, or a "bernoulli" metric on black and white pixels'
                )
            log_p = torch.cat(
                [
                    log_sum_exp(draws.log_weight for draws in draw_in_pieces(inference, samples)) - math.log(samples)
                    for inference in infer_in_blocks(context, model, self.config.images)
                ]
            )
            width = level_width(model)
        nll = -float(log_p.mean())
        dimensions = context.real("test").images[0].numel()
        return {
            "nll": nll,
            **standard_error("nll", log_p),
            "bits_per_dim": nll / (dimensions * math.log(2)) - math.log2(width),
        }


def level_width(model: LikelihoodModel) -> float:
    """The width of one of 256 grey levels if log p(x | z) is a density of pixels in [-1, 1]; 1 if a probability."""
    return LEVEL_WIDTH if model.density else 1.0
