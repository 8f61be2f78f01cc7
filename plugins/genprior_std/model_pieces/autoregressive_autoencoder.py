"""Base class of autoencoders with an autoregressive decoder: likelihoods, and clusters if codes are soft categories."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from genprior import Batch, CategoricalPosterior
from genprior_std.layers.posterior import log_category
from genprior_std.model_pieces.single_code import SingleCodeModel
from genprior_std.priors.categorical import Categorical

__all__ = ["AutoregressiveAutoencoder", "gives_categories"]


def gives_categories(encoder: Any) -> bool:
    """Whether an encoder with these settings gives soft categories as codes."""
    return issubclass(encoder.part.posterior_of(encoder), CategoricalPosterior)


class AutoregressiveAutoencoder(SingleCodeModel):
    """An autoencoder with one code z whose decoder gives log p(x | z) and samples images pixel by pixel."""

    @property
    def categorical(self) -> bool:
        """Whether codes are soft categories."""
        return gives_categories(self.encoder.config)

    def clusters(self, batch: Batch) -> Tensor | None:
        """The soft category of each image, [n, d]; None where the encoder does not end in a softmax."""
        return self.encode(batch) if self.categorical else super().clusters(batch)

    def log_categories(self, x: Tensor, known: Tensor) -> Tensor:
        """Log q(y | x), [m, d], of images x [m, c, h, w] with conditions `known` [n, ...]; m = n, or a multiple of n.

        Images and the same images moved are m = 2 n, with the conditions of the first.
        """
        return log_category(self.encoder(x, known.repeat(len(x) // len(known), 1)))

    def cluster_heads(self) -> Tensor | None:
        """An image drawn from each category, [d, c, h, w]; None without categories, or with a condition."""
        sizes = self.decoder.sizes
        if not self.categorical or sizes.known:
            return None
        like = next(self.decoder.parameters())
        codes = torch.eye(sizes.code, device=like.device, dtype=like.dtype)
        images: Tensor = self.decoder(codes, codes.new_empty(len(codes), 0))
        return images

    def log_likelihood(self, batch: Batch) -> Tensor | None:
        """The natural logarithm of p(x) = 1/K sum_k p(x | e_k), exact, [n]; None where the prior is not `categorical`.

        K passes of the decoder, one category at a time. If the condition asks for category k, it is log p(x | e_k).
        """
        if not isinstance(self.prior, Categorical):
            return None
        known, asked = self.conditioner(batch)
        if asked.shape[1]:
            given: Tensor = self.decoder.log_prob(batch.x, asked, known)
            return given
        categories = self.decoder.sizes.code
        codes = torch.eye(categories, device=batch.x.device, dtype=batch.x.dtype)
        each = [self.decoder.log_prob(batch.x, code.expand(len(batch.x), -1), known) for code in codes]
        return torch.stack(each).logsumexp(0) - math.log(categories)

    def log_likelihood_given_code(self, batch: Batch) -> Tensor | None:
        """The natural logarithm of p(x | z) at the mean code of each image, [n] in nats; not a bound on log p(x)."""
        known, _ = self.conditioner(batch)
        log_p: Tensor = self.decoder.log_prob(batch.x, self.encoder(batch.x, known).mean, known)
        return log_p
