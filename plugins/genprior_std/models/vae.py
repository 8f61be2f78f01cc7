"""The variational autoencoder, with a choice of prior.

Kingma and Welling 2013 ("Auto-encoding variational Bayes"): encoder and decoder maximise a lower bound on log p(x).
With the `vampprior` it is the model of Tomczak and Welling 2017 ("VAE with a VampPrior"), whose prior is trained by the
bound too.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

import genprior
from genprior import Batch, Build, DataInfo, Objectives, PartConfig, Phase, Sizes
from genprior_std.checks.likelihoods import (
    check_density_or_energy,
    check_density_posterior,
    check_likelihood,
    check_support,
)
from genprior_std.checks.trainable import learning
from genprior_std.conditioners.none import NoCondition
from genprior_std.model_pieces.latent import LatentModel
from genprior_std.model_pieces.warmup import warmed_up

__all__ = ["VariationalAutoencoder"]


class VariationalAutoencoder(LatentModel):
    """VAE with any prior that has a density, or an energy.

        ELBO = E_q log p(x | z) - KL(q(z | x) || p(z)),    KL = E_q [log q(z | x) - log p(z)]

    Both expectations are estimated with the same code z ~ q(z | x), one per image, so the KL needs no closed form. Both
    terms are in nats per image, summed over pixels and over coordinates of the code and averaged over the batch. All
    trainable parts minimise -E_q log p(x | z) + beta KL.

    The reconstruction part is -log p(x | z). Exact ones are `pixel` with `reduction = "sum"` and `metric = "gaussian"`,
    which is N(x; dec(z), sigma^2 I), or `metric = "bernoulli"`, for pixels that are black or white, and
    `discretised_logistic`. With the sum of `squared` or `absolute` errors the bound is, up to a constant, that of a
    Gaussian with sigma^2 = 1/2 or of a Laplace density with scale 1.

    Of a prior that has an energy alone (`EnergyPrior`), log p(z) is a surrogate with the same gradients in expectation.
    The KL is then lower by the entropy of the prior, which is not known, and recorded as `kl_without_entropy`.

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes, 2013, equations 2 and 6 (the estimator A of algorithm 1).
    """

    name = "vae"
    # Also the encoder: a VampPrior samples through it, and a reconstruction needs both networks' averaged weights.
    generating: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "prior")

    class Config(PartConfig):
        """The parts of a variational autoencoder."""

        code_size: int = Field(64, gt=0)
        """d, the width of a code."""
        prior: genprior.PriorSpec
        """p(z), a prior with a density or an energy."""
        fitted_prior: genprior.FittedPriorSpec | None = None
        """A prior that is fitted to the codes after training, and then draws new codes in the place of `prior`."""
        encoder: genprior.EncoderSpec
        """q(z | x), an encoder with a density: posterior = "gaussian"."""
        decoder: genprior.DecoderSpec
        """dec(z), the mean of p(x | z)."""
        reconstruction: genprior.ReconstructionSpec
        """-log p(x | z) of each image, summed over its pixels."""
        conditioner: genprior.ConditionerSpec = NoCondition.Config()
        """The condition: `known` of images and `asked` of new ones."""
        beta: float = Field(1.0, gt=0, allow_inf_nan=False)
        """Weight of the KL; 1 is the bound."""
        warmup: int = Field(0, ge=0)
        """Steps over which the weight of the KL rises linearly from 0 to `beta`; step t has beta t / warmup."""

    steps_seen: Tensor

    def __init__(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the parts.

        Raises:
            PlanError: the prior or the posterior has no density, their codes lie on different spaces, the
                reconstruction is not a likelihood of images, or parts do not fit.
        """
        super().__init__(config)
        check_likelihood(self.name, config.reconstruction, info)
        check_density_or_energy(self.name, config.prior)
        check_density_posterior(self.name, config.encoder)
        check_support(self.name, config.prior, config.encoder)
        widths = config.conditioner.part.widths(config.conditioner, info)
        build.parts(self, Sizes(info.image, config.code_size, *widths))
        # A buffer, so that checkpoints save the progress of the warm-up.
        self.register_buffer("steps_seen", torch.zeros((), dtype=torch.int64))

    def phases(self) -> tuple[Phase, ...]:
        """One phase: all parts minimise the negative bound."""
        return (Phase("elbo", self.elbo),)

    def elbo(self, batch: Batch) -> Objectives:
        """The negative ELBO, -log p(x | z) + beta (log q(z | x) - log p(z)) with z ~ q(z | x).

        Raises:
            PlanError: the encoder's posterior has no density.
        """
        draws = self.infer(batch).draw(1)
        rec = -draws.log_likelihood.mean()  # -E_q log p(x | z)
        kl = (draws.log_posterior - draws.log_prior).mean()  # KL(q(z | x) || p(z))
        if self.config.warmup and self.training:
            self.steps_seen.add_(1)
        beta = warmed_up(self.config.beta, self.config.warmup, self.steps_seen, kl)
        loss = rec + beta * kl
        learners = learning(self, "encoder", "decoder", "prior", "reconstruction", "conditioner")
        recorded = "kl" if self.prior_normalised else "kl_without_entropy"
        return Objectives(dict.fromkeys(learners, loss), note={"reconstruction": rec, recorded: kl, "beta": beta})
