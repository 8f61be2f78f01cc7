"""The variational autoencoder, with a choice of prior.

Kingma and Welling 2013 ("Auto-encoding variational Bayes"): encoder and decoder ascend a lower bound of log p(x).
With the `vampprior` it is the model of Tomczak and Welling 2017 ("VAE with a VampPrior"), whose prior ascends it too.
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
    ConditionerSpec,
    DataInfo,
    DecoderSpec,
    DensityPosterior,
    DensityPrior,
    EncoderSpec,
    Model,
    Objectives,
    PartConfig,
    Phase,
    PlanError,
    PriorSpec,
    ReconstructionSpec,
    Sizes,
)

__all__ = ["VariationalAutoencoder"]


class VariationalAutoencoder(Model):
    """VAE with any prior that knows its density.

        ELBO = E_q log p(x | z) - KL(q(z | x) || p(z)),    KL = E_q [log q(z | x) - log p(z)]

    Both expectations are estimated with the same code z ~ q(z | x), one an image, so a prior needs no closed form.
    Both terms are in nats of an image, summed over pixels and over coordinates of the code; the batch is averaged.

    The reconstruction part is -log p(x | z). Exact ones are `pixel` with `reduction = "sum"` and `metric = "gaussian"`,
    which is N(x; dec(z), sigma^2 I), or `metric = "bernoulli"`, for pixels that are black or white. With the sum of
    `squared` or `absolute` errors the bound is that of a Gaussian of sigma^2 = 1/2 or a Laplace density of scale 1, but
    for a constant.

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes, 2013, equations 2 and 6 (the estimator A of algorithm 1).
    """

    name = "vae"
    # A VampPrior samples through the encoder, and a reconstruction should be made by networks of one average.
    generating: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "prior")

    class Config(PartConfig):
        """The parts of a variational autoencoder."""

        code_size: int = Field(64, gt=0)
        """d, the width of a code."""
        prior: PriorSpec
        """p(z), a prior with a density."""
        encoder: EncoderSpec
        """q(z | x), an encoder with a density: posterior = "gaussian"."""
        decoder: DecoderSpec
        """dec(z), the mean of p(x | z)."""
        reconstruction: ReconstructionSpec
        """-log p(x | z) of each image, summed over its pixels."""
        conditioner: ConditionerSpec
        """What is told and asked."""
        beta: float = Field(1.0, gt=0, allow_inf_nan=False)
        """Weight of the KL; 1 is the bound."""
        warmup: int = Field(0, ge=0)
        """Steps over which the weight of the KL rises linearly from 0 to `beta`; the t-th has t / warmup of it."""

    steps_seen: Tensor

    def __init__(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the parts.

        Raises:
            PlanError: the prior has no density, the reconstruction is no likelihood of an image, or parts do not fit.
        """
        super().__init__(config)
        _check_likelihood(config.reconstruction)
        if not issubclass(config.prior.part, DensityPrior):
            raise PlanError(
                f"model '{self.name}' needs a prior with log_prob; "
                f"'{config.prior.name}' can only be sampled (use model 'aae')"
            )
        known, asked = config.conditioner.part.widths(config.conditioner, info)
        sizes = Sizes(info.image, config.code_size, known, asked)
        self.encoder = build("encoder", config.encoder, sizes)
        self.decoder = build("decoder", config.decoder, sizes)
        self.prior = build("prior", config.prior, sizes)
        self.reconstruction = build("reconstruction", config.reconstruction, sizes)
        self.conditioner = build("conditioner", config.conditioner, sizes)
        # A buffer, so that a checkpoint holds how far the warm-up is.
        self.register_buffer("steps_seen", torch.zeros((), dtype=torch.int64))

    def phases(self) -> tuple[Phase, ...]:
        """One phase: all descend the negative bound."""
        return (Phase("elbo", self.elbo),)

    def elbo(self, batch: Batch) -> Objectives:
        """The negative ELBO, -log p(x | z) + beta (log q(z | x) - log p(z)) with z ~ q(z | x).

        Raises:
            PlanError: the encoder's posterior has no density.
        """
        known, asked = self.conditioner(batch)
        q = self.encoder(batch.x, known)
        if not isinstance(q, DensityPosterior):
            raise PlanError(
                f"model '{self.name}' needs an encoder whose posterior has a density; encoder '{self.encoder.name}' "
                "gives each image a single code. "
                "Set posterior = \"gaussian\" in the encoder's table, or use model 'aae'"
            )
        z = q.rsample()
        rec = self.reconstruction(batch.x, self.decoder(z, known), known).mean()  # -E_q log p(x | z)
        kl = (q.log_prob(z) - self.prior.log_prob(z, asked)).mean()  # KL(q(z | x) || p(z))
        beta = self._advanced_beta(kl)
        loss = rec + beta * kl
        moved = ("encoder", "decoder", *(["prior"] if any(True for _ in self.prior.parameters()) else []))
        return Objectives(dict.fromkeys(moved, loss), note={"reconstruction": rec, "kl": kl, "beta": beta})

    def _advanced_beta(self, like: Tensor) -> Tensor:
        """The weight of the KL in this step, a scalar on the device of `like`; counts the step while training."""
        beta = like.new_full((), self.config.beta)
        if not self.config.warmup:
            return beta
        if self.training:
            self.steps_seen.add_(1)
        risen: Tensor = self.steps_seen.to(like.dtype) / self.config.warmup
        return beta * risen.clamp(max=1)

    def generate(self, condition: Condition) -> Tensor:
        """dec(z) with z ~ p(z), the mean of p(x | z)."""
        known, asked = condition
        images: Tensor = self.decoder(self.prior.sample(asked), known)
        return images

    def reconstruct(self, batch: Batch) -> Tensor:
        """dec(z) at the posterior's mean."""
        known, _ = self.conditioner(batch)
        images: Tensor = self.decoder(self.encoder(batch.x, known).mean, known)
        return images


def _check_likelihood(config: PartConfig) -> None:
    """Refuse what is known to be no -log p(x | z) of an image."""
    remedy = 'Use reconstruction = { name = "pixel", metric = "gaussian", sigma = 0.1, reduction = "sum" }'
    if "image_critic" in config.part.borrows:
        raise PlanError(
            f"model 'vae' needs a reconstruction that is -log p(x | z); '{config.name}' compares features of an image "
            f"critic, which is no likelihood of images. {remedy}, or use model 'aae'"
        )
    if getattr(config, "reduction", None) == "mean":
        raise PlanError(
            f"model 'vae' needs -log p(x | z) of a whole image beside a KL of a whole code; reconstruction "
            f"'{config.name}' has reduction = \"mean\", an average over pixels. {remedy}"
        )
