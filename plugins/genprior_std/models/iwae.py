"""The importance weighted autoencoder.

Burda, Grosse and Salakhutdinov 2015 ("Importance weighted autoencoders"): several codes of an image, weighted by how
well they explain it, give a bound of log p(x) that is tighter the more there are.
"""

from __future__ import annotations

import math

from pydantic import Field

from genprior import Batch, Objectives, Phase
from genprior_std.models.latent import LatentModel

__all__ = ["ImportanceWeightedAutoencoder"]


class ImportanceWeightedAutoencoder(LatentModel):
    """IWAE with any prior that knows its density.

        L_k = E log 1/k sum_i w_i,    w_i = p(z_i) p(x | z_i) / q(z_i | x),    z_1 .. z_k ~ q(z | x)

    L_1 is the ELBO, L_k never falls as k grows, and tends to log p(x). Its gradient is that of the mean of the log
    weights, each weighted by its share w_i / sum_j w_j, which is what the gradient through the log of the sum is.

    In nats of an image, as in `vae`; the reconstruction part is -log p(x | z), see there.

    References:
        Burda, Grosse, Salakhutdinov, Importance Weighted Autoencoders, 2015, equations 8 and 14.
    """

    name = "iwae"

    class Config(LatentModel.Config):
        """The parts of an importance weighted autoencoder."""

        importance_samples: int = Field(5, ge=1)
        """k, the codes drawn for each image; 1 is the ELBO."""

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
        return Objectives(dict.fromkeys(self.learned, loss), note=note)
