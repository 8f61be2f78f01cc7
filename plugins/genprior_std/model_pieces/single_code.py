"""encode, decode, reconstruct and generate for autoencoders with one code."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from genprior import Batch, Codes, Condition, Model

__all__ = ["SingleCodeModel"]


class SingleCodeModel(Model):
    """An autoencoder with one code z: it has an encoder, a decoder, a prior and a conditioner.

    With a `fitted_prior` new codes are drawn from that one, and the density of a code is its density.
    """

    encoder: Any
    decoder: Any
    prior: Any
    conditioner: Any

    def generate(self, condition: Condition) -> Tensor:
        """dec(z) with z from the prior, by the same `sample` that training uses, or from the fitted prior."""
        known, asked = condition
        prior: Any = self.code_prior
        images: Tensor = self.decoder(prior.sample(asked), known)
        return images

    def reconstruct(self, batch: Batch) -> Tensor | None:
        """dec(z) at the posterior's mean."""
        known, _ = self.conditioner(batch)
        images: Tensor = self.decoder(self.encoder(batch.x, known).mean, known)
        return images

    def encode(self, batch: Batch) -> Tensor:
        """The posterior's mean, [n, d]."""
        known, _ = self.conditioner(batch)
        z: Tensor = self.encoder(batch.x, known).mean
        return z

    def draw_posterior(self, batch: Batch) -> Codes | None:
        """A code of each image drawn from its posterior, with the condition of new images like it."""
        known, asked = self.conditioner(batch)
        return Codes(self.encoder(batch.x, known).rsample(), asked)

    def decode(self, z: Tensor, condition: Condition) -> Tensor | None:
        """dec(z) of codes z [n, d] with condition `known`."""
        images: Tensor = self.decoder(z, condition.known)
        return images
