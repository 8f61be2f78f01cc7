"""The variational autoencoder with two levels of codes.

Tomczak and Welling 2017 ("VAE with a VampPrior", section 5): a prior on the upper codes z2, from which the lower ones,
z1, are drawn; both reach the decoder.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genprior import (
    Batch,
    Build,
    Condition,
    DataInfo,
    DecoderSpec,
    DensityPosterior,
    Draws,
    EncoderSpec,
    Inference,
    PartConfig,
    PlanError,
    PriorSpec,
    ReconstructionSpec,
    Sizes,
)
from genprior_std.layers.posterior import log_prob_of_each
from genprior_std.models.latent import check_density, dense, draw_with_density, repeated
from genprior_std.models.vae import VariationalAutoencoder
from genprior_std.priors.conditional_gaussian import ConditionalGaussian

__all__ = ["HierarchicalVariationalAutoencoder"]

HELD = 4096
"""Pairs of a code and an image whose lower posterior is computed at once."""


class HierarchicalVariationalAutoencoder(VariationalAutoencoder):
    """VAE with two levels of codes, z2 above z1.

        p(x, z1, z2) = p(z2) p(z1 | z2) p(x | z1, z2),    q(z1, z2 | x) = q(z2 | x) q(z1 | x, z2)
        KL = E_q [log q(z1 | x, z2) + log q(z2 | x) - log p(z1 | z2) - log p(z2)]

    Everything but the codes is as in `vae`. The parts of the upper level are called as there: `prior` is p(z2) and
    `encoder` is q(z2 | x), so that a `vampprior` stands on the upper codes. A lower part is told z2 as a condition: for
    `inner_encoder` and `decoder` it is what is known (set `conditional = true` in their tables), for `inner_prior` what
    is asked. The codes stand side by side as z = [z1, z2]. There is no other condition.

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
        prior: PriorSpec
        """p(z2), a prior with a density."""
        inner_prior: PriorSpec = ConditionalGaussian.Config()
        """p(z1 | z2), a prior with a density that is asked for z2."""
        encoder: EncoderSpec
        """q(z2 | x), an encoder with a density: posterior = "gaussian"."""
        inner_encoder: EncoderSpec
        """q(z1 | x, z2), an encoder with a density that is told z2: conditional = true."""
        decoder: DecoderSpec
        """dec(z1, z2), the mean of p(x | z1, z2): told z2 by conditional = true."""
        reconstruction: ReconstructionSpec
        """-log p(x | z1, z2) of each image, summed over its pixels."""
        beta: float = Field(1.0, gt=0, allow_inf_nan=False)
        """Weight of the KL; 1 is the bound."""
        warmup: int = Field(0, ge=0)
        """Steps over which the weight of the KL rises linearly from 0 to `beta`; the t-th has t / warmup of it."""

    def make_parts(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the parts of both levels.

        Raises:
            PlanError: a prior has no density, or a lower part is not told the upper code.
        """
        for prior in (config.prior, config.inner_prior):
            check_density(self.name, prior)
        for role in ("inner_encoder", "decoder"):
            if not getattr(getattr(config, role), "conditional", True):
                raise PlanError(
                    f"model '{self.name}' tells its {role} the upper code, and {role} '{getattr(config, role).name}' "
                    f"has conditional = false, so it would not see it. Set conditional = true in the {role}'s table"
                )
        upper, lower = config.code_size, config.inner_code_size
        told, alone = Sizes(info.image, lower, upper, 0), Sizes(info.image, upper, 0, 0)
        self.encoder = build("encoder", config.encoder, alone)
        self.inner_encoder = build("inner_encoder", config.inner_encoder, told)
        self.inner_prior = build("inner_prior", config.inner_prior, Sizes(info.image, lower, 0, upper))
        self.decoder = build("decoder", config.decoder, told)
        self.prior = build("prior", config.prior, alone)
        self.reconstruction = build("reconstruction", config.reconstruction, told)

    def infer(self, batch: Batch) -> Inference:
        """q(z1, z2 | x) of each image, with p(z1, z2) and p(x | z1, z2).

        Raises:
            PlanError: an encoder's posterior has no density.
        """
        return _TwoLevels(self, batch)

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

    def reconstruct(self, batch: Batch) -> Tensor:
        """dec(z1, z2) at the mean of q(z2 | x), and of q(z1 | x, z2) given that."""
        z = self.infer(batch).mean
        inner = self.config.inner_code_size
        images: Tensor = self.decoder(z[:, :inner], z[:, inner:])
        return images


class _TwoLevels(Inference):
    """What a model of two levels infers: the upper encoder runs once, what depends on z2 at each draw."""

    def __init__(self, model: HierarchicalVariationalAutoencoder, batch: Batch) -> None:
        self._model = model
        self._x = batch.x
        self._none = batch.x.new_zeros(len(batch.x), 0)
        self._upper = dense(model, model.encoder, batch.x, self._none)

    @property
    def mean(self) -> Tensor:
        z2 = self._upper.mean
        return torch.cat([self._lower(self._x, z2).mean, z2], 1)

    def draw(self, samples: int) -> Draws:
        model, x = self._model, repeated(self._x, samples)
        z2, log_upper = draw_with_density(self._upper, samples)
        q1 = self._lower(x, z2)
        z1 = q1.rsample()
        error = model.reconstruction(x, model.decoder(z1, z2), z2)
        log_prior = model.prior.log_prob(z2, repeated(self._none, samples)) + model.inner_prior.log_prob(z1, z2)
        shape = (samples, len(self._x))
        z = torch.cat([z1, z2], 1).view(*shape, -1)
        return Draws(z, -error.view(shape), log_prior.view(shape), (log_upper + q1.log_prob(z1)).view(shape))

    def log_posterior(self, z: Tensor) -> Tensor:
        n, inner = len(self._x), self._model.config.inner_code_size
        return torch.cat([self._of_each(p[:, :inner], p[:, inner:]) for p in torch.split(z, max(1, HELD // n))])

    def _of_each(self, z1: Tensor, z2: Tensor) -> Tensor:
        m, n = len(z2), len(self._x)
        each = [code.repeat_interleave(n, 0) for code in (z1, z2)]
        lower = self._lower(repeated(self._x, m), each[1]).log_prob(each[0]).view(m, n)
        return log_prob_of_each(self._upper, z2).to(lower.dtype) + lower

    def _lower(self, x: Tensor, z2: Tensor) -> DensityPosterior:
        return dense(self._model, self._model.inner_encoder, x, z2)
