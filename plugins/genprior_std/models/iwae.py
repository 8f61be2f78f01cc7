"""The importance weighted autoencoder.

Burda, Grosse and Salakhutdinov 2015 ("Importance weighted autoencoders"): several codes of an image, weighted by how
well they explain it, give a bound of log p(x) that is tighter the more there are.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from pydantic import Field

from genprior import (
    Batch,
    Build,
    ConditionerSpec,
    DataInfo,
    DecoderSpec,
    EncoderSpec,
    Objectives,
    PartConfig,
    Phase,
    PriorSpec,
    ReconstructionSpec,
    Sizes,
)
from genprior_std.checks.likelihoods import check_density, check_density_posterior, check_likelihood
from genprior_std.model_pieces.latent import LatentModel
from genprior_std.model_pieces.learning import learning

__all__ = ["ImportanceWeightedAutoencoder"]


class ImportanceWeightedAutoencoder(LatentModel):
    """IWAE with any prior that knows its density.

        L_k = E log 1/k sum_i w_i,    w_i = p(z_i) p(x | z_i) / q(z_i | x),    z_1 .. z_k ~ q(z | x)

    L_1 is the ELBO, L_k never falls as k grows, and tends to log p(x). Its gradient is that of the mean of the log
    weights, each weighted by its share w_i / sum_j w_j, which is what the gradient through the log of the sum is. All
    that learns descends -L_k.

    In nats of an image: summed over pixels and over coordinates of the code; the batch is averaged. The reconstruction
    part is -log p(x | z): `pixel` with `reduction = "sum"` and a `gaussian` or, for pixels that are black or white, a
    `bernoulli` metric, or `discretised_logistic`.

    References:
        Burda, Grosse, Salakhutdinov, Importance Weighted Autoencoders, 2015, equations 8 and 14.
    """

    name = "iwae"
    # A VampPrior samples through the encoder, and a reconstruction should be made by networks of one average.
    generating: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "prior")

    class Config(PartConfig):
        """The parts of an importance weighted autoencoder."""

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
        importance_samples: int = Field(5, ge=1)
        """k, the codes drawn for each image; 1 is the ELBO."""

    def __init__(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the parts.

        Raises:
            PlanError: the prior or the posterior has no density, the reconstruction is no likelihood of an image, or
                parts do not fit.
        """
        super().__init__(config)
        check_likelihood(self.name, config.reconstruction, info)
        check_density(self.name, config.prior)
        check_density_posterior(self.name, config.encoder)
        widths = config.conditioner.part.widths(config.conditioner, info)
        build.parts(self, Sizes(info.image, config.code_size, *widths))

    def phases(self) -> tuple[Phase, ...]:
        """One phase: all descend the negative bound."""
        return (Phase("bound", self.bound),)

    def bound(self, batch: Batch) -> Objectives:
        """The negative bound -L_k, averaged over the batch.

        Raises:
            PlanError: the encoder's posterior has no density.
        """
        k = self.config.importance_samples
        draws = self.infer(batch).draw(k)
        loss = math.log(k) - draws.log_weight.logsumexp(0).mean()
        note = {
            "reconstruction": -draws.log_likelihood.mean(),
            "kl": (draws.log_posterior - draws.log_prior).mean(),
            "elbo": draws.log_weight.mean(),
        }
        learners = learning(self, "encoder", "decoder", "prior", "reconstruction", "conditioner")
        return Objectives(dict.fromkeys(learners, loss), note=note)
