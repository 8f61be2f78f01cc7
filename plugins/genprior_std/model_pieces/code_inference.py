"""Inference with one level of codes: the densities p(z), p(x | z) and q(z | x) of codes drawn from q(z | x)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genprior import Batch, Draws, Inference
from genprior_std.layers.posterior import log_prob_of_each
from genprior_std.model_pieces.log_prior import log_prior
from genprior_std.model_pieces.posterior_draws import density_posterior, draw_with_density, repeated

__all__ = ["CodeInference"]

ROWS = 128
"""Images that a CPU decodes at a time without gradients, so that they fit into its cache."""


class CodeInference(Inference):
    """Inference in a model of one level of codes: the encoder runs once, the decoder and the prior at each draw."""

    def __init__(self, model: Any, batch: Batch) -> None:
        """Encode the batch.

        Args:
            model: has an encoder, a decoder, a prior, a reconstruction that is -log p(x | z), and a conditioner.
            batch: the images.

        Raises:
            PlanError: the encoder's posterior has no density.
        """
        self._model = model
        self._x, self._index = batch.x, batch.index
        self._known, self._asked = model.conditioner(batch)
        self._q = density_posterior(model, model.encoder, model.code_prior, batch.x, self._known)

    @property
    def mean(self) -> Tensor:
        """The mean of q(z | x), [n, d]."""
        return self._q.mean

    def draw(self, samples: int) -> Draws:
        """Draw `samples` codes for each image and give their densities; see `genprior.Inference`."""
        model = self._model
        z, log_posterior = draw_with_density(self._q, samples)
        log_likelihood = self._log_likelihood(z)
        index = None if self._index is None else repeated(self._index, samples)
        log_p = log_prior(model.code_prior, z, repeated(self._asked, samples), index)
        shape = (samples, len(self._x))
        return Draws(z.view(*shape, -1), log_likelihood.view(shape), log_p.view(shape), log_posterior.view(shape))

    def _log_likelihood(self, z: Tensor) -> Tensor:
        """Log p(x | z) of codes z [s n, d], draw by draw: [s n].

        Without gradients a CPU decodes a few draws at a time, which is faster because the images fit into its cache. In
        training mode networks get all draws at once, since batch normalisation mixes the images of a batch.
        """
        model, n = self._model, len(self._x)
        whole = torch.is_grad_enabled() or model.training or z.device.type != "cpu"
        errors = []
        for codes in torch.split(z, len(z) if whole else n * max(1, ROWS // n)):
            draws = len(codes) // n
            known = repeated(self._known, draws)
            errors.append(model.reconstruction(repeated(self._x, draws), model.decoder(codes, known), known))
        return -torch.cat(errors)

    def log_posterior(self, z: Tensor) -> Tensor:
        """The natural logarithm of q(z_j | x_i), [m, n]."""
        return log_prob_of_each(self._q, z).to(z.dtype)
