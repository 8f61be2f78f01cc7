"""Posteriors with a density: computed by an encoder, and sampled together with their log-densities."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genprior import DensityPosterior, Model, Posterior
from genprior_std.checks.likelihoods import no_density, no_gaussian, other_support
from genprior_std.layers.posterior import GaussianPosterior
from genprior_std.layers.row_posterior import RowPosterior

__all__ = ["density_posterior", "draw_with_density", "gaussian_posterior", "repeated"]


def density_posterior(model: Model, encoder: Any, prior: Any, x: Tensor, known: Tensor) -> DensityPosterior:
    """q(z | x) of images x [n, c, h, w] with condition `known` [n, k], to be compared with `prior`.

    An encoder that declares its kind of posterior was checked when the model was built; this checks the others.

    Raises:
        PlanError: it has no density, or lies elsewhere than the prior.
    """
    q: Posterior = encoder(x, known)
    if not isinstance(q, DensityPosterior):
        raise no_density(model.name, encoder.name)
    if q.support not in prior.supports:
        fitted = prior is model.part_for("fitted_prior")
        raise other_support(model.name, prior.name, encoder.name, q.support, prior.supports, fitted=fitted)
    return q


def gaussian_posterior(model: Model, encoder: Any, prior: Any, x: Tensor, known: Tensor) -> GaussianPosterior:
    """q(z | x) of images x [n, c, h, w] with condition `known` [n, k], with a mean and a variance of each coordinate.

    Raises:
        PlanError: it is not a Gaussian.
    """
    q = density_posterior(model, encoder, prior, x, known)
    if not isinstance(q, GaussianPosterior):
        raise no_gaussian(model.name, encoder.name, type(q))
    return q


def repeated(x: Tensor, times: int) -> Tensor:
    """The rows of x [n, ...], repeated as a block `times` times: [times n, ...]."""
    return x if times == 1 else x.expand(times, *x.shape).flatten(0, 1)


def draw_with_density(q: DensityPosterior, samples: int) -> tuple[Tensor, Tensor]:
    """Draw `samples` codes for each of n images, with log q(z | x): [s n, d] and [s n], draw by draw."""
    if isinstance(q, RowPosterior):
        q = q if samples == 1 else q.map_rows(lambda rows: repeated(rows, samples))
        z = q.rsample()
        return z, q.log_prob(z)
    draws = [q.rsample() for _ in range(samples)]
    return torch.cat(draws), torch.cat([q.log_prob(z) for z in draws])
