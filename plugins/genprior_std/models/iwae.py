"""The importance weighted autoencoder.

Burda, Grosse and Salakhutdinov 2015 ("Importance weighted autoencoders"): several codes per image, weighted by how well
they explain it, give a bound on log p(x) that tightens with their number.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from pydantic import Field

import genprior
from genprior import Batch, Build, DataInfo, Objectives, PartConfig, Phase, Sizes
from genprior_std.checks.likelihoods import check_density, check_density_posterior, check_likelihood, check_support
from genprior_std.checks.trainable import learning
from genprior_std.conditioners.none import NoCondition
from genprior_std.model_pieces.latent import LatentModel

__all__ = ["ImportanceWeightedAutoencoder"]


class ImportanceWeightedAutoencoder(LatentModel):
    """IWAE with any prior that has a density.

        L_k = E log 1/k sum_i w_i,    w_i = p(z_i) p(x | z_i) / q(z_i | x),    z_1 .. z_k ~ q(z | x)

    L_1 is the ELBO; L_k does not decrease with k and tends to log p(x). Its gradient is the sum of the gradients of log
    w_i, weighted by w_i / sum_j w_j, as automatic differentiation gives it. All trainable parts minimise -L_k.

    L_k is in nats per image, summed over pixels and over coordinates of the code and averaged over the batch. The
    reconstruction part is -log p(x | z): `pixel` with `reduction = "sum"` and a `gaussian` or, for pixels that are
    black or white, a `bernoulli` metric, or `discretised_logistic`.

    References:
        Burda, Grosse, Salakhutdinov, Importance Weighted Autoencoders, 2015, equations 8 and 14.
    """

    name = "iwae"
    # Also the encoder: a VampPrior samples through it, and a reconstruction needs both networks' averaged weights.
    generating: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "prior")

    class Config(PartConfig):
        """The parts of an importance weighted autoencoder."""

        code_size: int = Field(64, gt=0)
        """d, the width of a code."""
        prior: genprior.PriorSpec
        """p(z), a prior with a density."""
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
        importance_samples: int = Field(5, ge=1)
        """k, the number of codes drawn per image; 1 gives the ELBO."""

    def __init__(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the parts.

        Raises:
            PlanError: the prior or the posterior has no density, their codes lie on different spaces, the
                reconstruction is not a likelihood of images, or parts do not fit.
        """
        super().__init__(config)
        check_likelihood(self.name, config.reconstruction, info)
        check_density(self.name, config.prior)
        check_density_posterior(self.name, config.encoder)
        check_support(self.name, config.prior, config.encoder)
        widths = config.conditioner.part.widths(config.conditioner, info)
        build.parts(self, Sizes(info.image, config.code_size, *widths))

    def phases(self) -> tuple[Phase, ...]:
        """One phase: all parts minimise the negative bound."""
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
