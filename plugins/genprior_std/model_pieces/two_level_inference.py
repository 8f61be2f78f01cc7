"""Inference with two levels of codes, z2 above z1: the densities of codes drawn from q(z2 | x) q(z1 | x, z2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genprior import Batch, DensityPosterior, Draws, Inference
from genprior_std.layers.posterior import log_prob_of_each
from genprior_std.model_pieces.log_prior import log_prior
from genprior_std.model_pieces.posterior_draws import density_posterior, draw_with_density, repeated

__all__ = ["TwoLevelInference"]

HELD = 4096
"""Pairs of a code and an image whose lower posterior is computed at once."""


class TwoLevelInference(Inference):
    """Inference in a model of two levels: the upper encoder runs once, all that depends on z2 once per draw.

    Codes are concatenated, z = [z1, z2].
    """

    def __init__(self, model: Any, batch: Batch) -> None:
        """Encode the batch at the upper level.

        Args:
            model: has an encoder, an inner_encoder, a decoder, a prior, an inner_prior and a reconstruction that is
                -log p(x | z1, z2).
            batch: the images.

        Raises:
            PlanError: the posterior of an encoder has no density.
        """
        self._model = model
        self._x, self._index = batch.x, batch.index
        self._none = batch.x.new_zeros(len(batch.x), 0)
        self._upper = density_posterior(model, model.encoder, model.prior, batch.x, self._none)

    @property
    def mean(self) -> Tensor:
        """The mean of q(z2 | x), and that of q(z1 | x, z2) given it: [n, d1 + d2]."""
        z2 = self._upper.mean
        return torch.cat([self._lower(self._x, z2).mean, z2], 1)

    def draw(self, samples: int) -> Draws:
        """Draw `samples` codes for each image and give their densities; see `genprior.Inference`."""
        model, x = self._model, repeated(self._x, samples)
        z2, log_upper = draw_with_density(self._upper, samples)
        q1 = self._lower(x, z2)
        z1 = q1.rsample()
        error = model.reconstruction(x, model.decoder(z1, z2), z2)
        index = None if self._index is None else repeated(self._index, samples)
        log_p = log_prior(model.prior, z2, repeated(self._none, samples), index) + model.inner_prior.log_prob(z1, z2)
        shape = (samples, len(self._x))
        z = torch.cat([z1, z2], 1).view(*shape, -1)
        return Draws(z, -error.view(shape), log_p.view(shape), (log_upper + q1.log_prob(z1)).view(shape))

    def log_posterior(self, z: Tensor) -> Tensor:
        """The natural logarithm of q(z_j | x_i), [m, n]."""
        n, inner = len(self._x), self._model.inner_encoder.sizes.code
        return torch.cat([self._of_each(p[:, :inner], p[:, inner:]) for p in torch.split(z, max(1, HELD // n))])

    def _of_each(self, z1: Tensor, z2: Tensor) -> Tensor:
        m, n = len(z2), len(self._x)
        each = [code.repeat_interleave(n, 0) for code in (z1, z2)]
        lower = self._lower(repeated(self._x, m), each[1]).log_prob(each[0]).view(m, n)
        return log_prob_of_each(self._upper, z2).to(lower.dtype) + lower

    def _lower(self, x: Tensor, z2: Tensor) -> DensityPosterior:
        return density_posterior(self._model, self._model.inner_encoder, self._model.inner_prior, x, z2)
