"""The variational autoencoder with two levels of codes.

Tomczak and Welling 2017 ("VAE with a VampPrior", section 5): the prior is on the upper codes z2, the lower codes z1 are
drawn given z2, and the decoder sees both.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

import genprior
from genprior import Batch, Build, Condition, DataInfo, Inference, Objectives, PartConfig, Phase, PlanError, Sizes
from genprior_std.checks.likelihoods import (
    check_density,
    check_density_posterior,
    check_likelihood,
    check_support,
    check_told,
)
from genprior_std.checks.trainable import learning
from genprior_std.model_pieces.reconstruction_likelihood import ReconstructionLikelihood
from genprior_std.model_pieces.two_level_inference import TwoLevelInference
from genprior_std.model_pieces.warmup import warmed_up
from genprior_std.priors.conditional_gaussian import ConditionalGaussian

__all__ = ["HierarchicalVariationalAutoencoder"]


class HierarchicalVariationalAutoencoder(ReconstructionLikelihood):
    """VAE with two levels of codes, z2 above z1.

        p(x, z1, z2) = p(z2) p(z1 | z2) p(x | z1, z2),    q(z1, z2 | x) = q(z2 | x) q(z1 | x, z2)
        ELBO = E_q log p(x | z1, z2) - KL
        KL = E_q [log q(z1 | x, z2) + log q(z2 | x) - log p(z1 | z2) - log p(z2)]

    Both terms are in nats per image, estimated with one code of each level per image and averaged over the batch. All
    trainable parts minimise -E_q log p(x | z1, z2) + beta KL.

    `prior` is p(z2) and `encoder` is q(z2 | x), so a `vampprior` is a prior of the upper codes. The lower parts get z2
    as their condition: as `known` in `inner_encoder` and `decoder` (set `conditional = true` in their tables), as
    `asked` in `inner_prior`. Codes are concatenated, z = [z1, z2]. There is no other condition.

    References:
        Tomczak and Welling, VAE with a VampPrior, 2017, section 4, equations 11 to 14.
    """

    name = "hvae"
    generating: ClassVar[tuple[str, ...]] = ("encoder", "inner_encoder", "inner_prior", "decoder", "prior")

    class Config(PartConfig):
        """The parts of a variational autoencoder of two levels."""

        code_size: int = Field(40, gt=0)
        """The width of the upper code z2."""
        inner_code_size: int = Field(40, gt=0)
        """The width of the lower code z1."""
        prior: genprior.PriorSpec
        """p(z2), a prior with a density."""
        inner_prior: genprior.PriorSpec = ConditionalGaussian.Config()
        """p(z1 | z2), a prior with a density, whose condition `asked` is z2."""
        encoder: genprior.EncoderSpec
        """q(z2 | x), an encoder with a density: posterior = "gaussian"."""
        inner_encoder: genprior.EncoderSpec
        """q(z1 | x, z2), an encoder with a density that sees z2: conditional = true."""
        decoder: genprior.DecoderSpec
        """dec(z1, z2), the mean of p(x | z1, z2); it sees z2 with conditional = true."""
        reconstruction: genprior.ReconstructionSpec
        """-log p(x | z1, z2) of each image, summed over its pixels."""
        beta: float = Field(1.0, gt=0, allow_inf_nan=False)
        """Weight of the KL; 1 is the bound."""
        warmup: int = Field(0, ge=0)
        """Steps over which the weight of the KL rises linearly from 0 to `beta`; step t has beta t / warmup."""

    steps_seen: Tensor

    def __init__(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the parts of both levels.

        Raises:
            PlanError: a prior or a posterior has no density, the reconstruction is not a likelihood of images, a lower
                part does not see the upper code, or parts do not fit.
        """
        super().__init__(config)
        check_likelihood(self.name, config.reconstruction, info)
        for prior in (config.prior, config.inner_prior):
            check_density(self.name, prior)
        for role, network in (("inner_encoder", config.inner_encoder), ("decoder", config.decoder)):
            check_told(self.name, role, network)
        for encoder, prior in ((config.encoder, config.prior), (config.inner_encoder, config.inner_prior)):
            check_density_posterior(self.name, encoder)
            check_support(self.name, prior, encoder)
        upper, lower = config.code_size, config.inner_code_size
        known, asked = Sizes(info.image, lower, upper, 0), Sizes(info.image, lower, 0, upper)
        of = {"inner_encoder": known, "decoder": known, "reconstruction": known, "inner_prior": asked}
        build.parts(self, Sizes(info.image, upper, 0, 0), of=of)
        # A buffer, so that checkpoints save the progress of the warm-up.
        self.register_buffer("steps_seen", torch.zeros((), dtype=torch.int64))

    def phases(self) -> tuple[Phase, ...]:
        """One phase: all parts minimise the negative bound."""
        return (Phase("elbo", self.elbo),)

    def elbo(self, batch: Batch) -> Objectives:
        """The negative ELBO, -log p(x | z1, z2) + beta (log q(z1, z2 | x) - log p(z1, z2)) with codes drawn from q."""
        draws = self.infer(batch).draw(1)
        rec = -draws.log_likelihood.mean()  # -E_q log p(x | z1, z2)
        kl = (draws.log_posterior - draws.log_prior).mean()  # KL(q(z1, z2 | x) || p(z1, z2))
        if self.config.warmup and self.training:
            self.steps_seen.add_(1)
        beta = warmed_up(self.config.beta, self.config.warmup, self.steps_seen, kl)
        learners = learning(self, "encoder", "inner_encoder", "inner_prior", "decoder", "prior", "reconstruction")
        losses = dict.fromkeys(learners, rec + beta * kl)
        return Objectives(losses, note={"reconstruction": rec, "kl": kl, "beta": beta})

    def infer(self, batch: Batch) -> Inference:
        """q(z1, z2 | x) of each image, with p(z1, z2) and p(x | z1, z2); see `TwoLevelInference`."""
        return TwoLevelInference(self, batch)

    def condition(self, like: Tensor, y: Tensor | None = None) -> Condition:
        """No condition.

        Raises:
            PlanError: images of a class are asked for.
        """
        if y is not None:
            raise PlanError(f"model '{self.name}' has no condition and cannot be asked for a class; sample without one")
        none = like.new_zeros(len(like), 0)
        return Condition(none, none)

    def generate(self, condition: Condition) -> Tensor:
        """dec(z1, z2) with z2 ~ p(z2) and z1 ~ p(z1 | z2), the mean of p(x | z1, z2)."""
        z2 = self.prior.sample(condition.asked)
        images: Tensor = self.decoder(self.inner_prior.sample(z2), z2)
        return images

    def encode(self, batch: Batch) -> Tensor:
        """The means of z1 and z2, side by side: [n, d1 + d2]."""
        return self.infer(batch).mean

    def draw_codes(self, condition: Condition) -> Tensor:
        """z1 ~ p(z1 | z2) and z2 ~ p(z2), side by side as in `encode`: [n, d1 + d2]."""
        z2 = self.prior.sample(condition.asked)
        return torch.cat([self.inner_prior.sample(z2), z2], 1)

    def reconstruct(self, batch: Batch) -> Tensor:
        """dec(z1, z2) at the mean of q(z2 | x), and of q(z1 | x, z2) given that."""
        z1, z2 = self.infer(batch).mean.tensor_split([self.config.inner_code_size], 1)
        images: Tensor = self.decoder(z1, z2)
        return images
