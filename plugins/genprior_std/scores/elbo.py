"""The evidence lower bound on test images, and its terms."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from genprior import Column, Inference, PartConfig, Score, ScoreContext
from genprior_std.scores.likelihood import (
    draw_in_pieces,
    infer_in_blocks,
    likelihood_model,
    log_sum_exp,
    standard_error,
)

__all__ = ["EvidenceLowerBound"]

CODES_AT_ONCE = 500
"""Codes whose density under the images of a block is computed at once."""


class EvidenceLowerBound(Score):
    """E_q[log p(x | z)] - KL(q(z | x) || p(z)) on test images in nats, term by term; higher is better.

        elbo               = reconstruction - kl
        reconstruction     = E log p(x | z)
        kl                 = cross_entropy_p - entropy_q  =  mutual_information + aggregated_kl
        entropy_q          = -E log q(z | x)
        cross_entropy_p    = -E log p(z)
        mutual_information =  E log q(z | x) - E log q(z)
        aggregated_kl      =  E log q(z) - E log p(z)  =  KL(q(z) || p(z))

    with E over the N test images and z ~ q(z | x), and q(z) = 1/N sum_j q(z | x_j) over the same images. All terms are
    averages over the same codes, so the identities hold to rounding, whatever the sampling error.

    The last two depend on N: the mutual information cannot exceed log N, and where it comes close, that of the whole
    distribution is larger and its KL(q(z) || p(z)) smaller by the same amount. Compare them only at equal N. They need
    the density of every code under every image.

    Where the reconstruction is -log p(x | z) only up to a constant, `elbo`, its standard error and `reconstruction` are
    left out.

    References:
        Hoffman and Johnson, ELBO surgery: yet another way to carve up the variational evidence lower bound, 2016,
        equations 7 and 8; Kingma and Welling, Auto-Encoding Variational Bayes, 2014, equation 3.
    """

    name = "elbo"
    higher_is_better = True
    at_most = ("images",)

    class Config(PartConfig):
        """The numbers of codes and of images."""

        importance_samples: int = Field(default=1, ge=1)
        """Codes drawn for each image to average over; as in `nll`, but the logarithm is taken before the mean."""
        images: int | None = Field(default=None, ge=1)
        """N, at most so many test images, chosen under a fixed seed; all if not given."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of tables."""
        return (
            Column(
                "elbo", "ELBO (nats)", True, "the reconstruction is -log p(x | z) only up to a constant or a factor"
            ),
            Column("mutual_information", "I(x; z) (nats)", True),
            Column("aggregated_kl", "KL(q(z) || p(z)) (nats)", False),
        )

    def measure(self, context: ScoreContext) -> dict[str, float]:
        """The bound and its terms, means over test images in nats, and the standard error of the bound.

        Raises:
            ScoreError: the model's densities are not known.
        """
        samples: int = self.config.importance_samples
        with likelihood_model(context) as model:
            inferences, codes, terms = [], [], []
            for inference in infer_in_blocks(context, model, self.config.images):
                pieces = list(draw_in_pieces(inference, samples))
                inferences.append(inference)
                codes += [piece.z.flatten(0, 1) for piece in pieces]
                terms.append(torch.cat([torch.stack(piece[1:]).double() for piece in pieces], dim=1).mean(1))
            log_likelihood, log_prior, log_posterior = torch.cat(terms, dim=1)  # each [N], means over codes
            log_aggregated = log_mean_density(inferences, torch.cat(codes), len(log_prior)).mean()
            normalised = model.normalised
        kl = log_posterior - log_prior
        bound = log_likelihood - kl
        results = {
            "kl": kl.mean(),
            "entropy_q": -log_posterior.mean(),
            "cross_entropy_p": -log_prior.mean(),
            "mutual_information": log_posterior.mean() - log_aggregated,
            "aggregated_kl": log_aggregated - log_prior.mean(),
        }
        if normalised:
            results = {"elbo": bound.mean(), "reconstruction": log_likelihood.mean(), **results}
        spread = standard_error("elbo", bound) if normalised else {}
        return {key: float(value) for key, value in results.items()} | spread


def log_mean_density(inferences: Sequence[Inference], z: Tensor, images: int) -> Tensor:
    """The aggregated posterior, log q(z) = log 1/N sum_j q(z | x_j) in nats: float64 [m].

    Args:
        inferences: about the N images, in blocks.
        z: codes [m, d].
        images: N.
    """
    sums = [
        log_sum_exp(inference.log_posterior(piece).T for inference in inferences)
        for piece in torch.split(z, CODES_AT_ONCE)
    ]
    return torch.cat(sums) - math.log(images)
