"""The nonparametric variational autoencoder: codes lie around the leaves of a tree that is inferred.

Goyal, Hu, Liang, Wang and Xing 2017 ("Nonparametric Variational Auto-encoders for Hierarchical Representation
Learning"): networks and tree are updated in turns, the networks by gradients of the bound, the tree in closed form.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

import genprior
from genprior import Batch, Build, DataInfo, Objectives, PartConfig, Phase, Sizes
from genprior_std.checks.likelihoods import check_gaussian_posterior, check_likelihood, check_tree
from genprior_std.checks.trainable import learning
from genprior_std.conditioners.none import NoCondition
from genprior_std.model_pieces.latent import LatentModel
from genprior_std.model_pieces.posterior_draws import gaussian_posterior
from genprior_std.model_pieces.ring_buffer import filled, overwrite_oldest

__all__ = ["NestedCrpAutoencoder"]


class NestedCrpAutoencoder(LatentModel):
    """VAE with a nested Chinese restaurant process as its prior.

        ELBO = sum_n (E_q log p(x_n | z_n) + sum_l phi_nl (E log N(z_n; alpha_l, sD^2 I) + E log pi_l - log phi_nl)
                      + H(q(z_n | x_n))) - KL(q(alpha) || p(alpha)) - KL(q(nu) || p(nu))

    with E log N(z; alpha_l, sD^2 I) = -d/2 log(2 pi sD^2) - E|z - alpha_l|^2 / (2 sD^2). Given the tree, the networks
    maximise the sum, averaged over images; given codes, the tree is set in closed form. It is updated on the last
    `memory` codes, as they were when their batches were trained on. Each counts once, so the tree's divergence is
    weighed against `memory` images, not against the whole data set.

    For the first `warmup` steps the tree stays at its draw from the prior, and the networks learn to spread codes over
    its leaves. An untrained encoder puts all codes in one place; a tree fitted to these keeps one or two leaves and
    never recovers the others, since leaves are not split.

    Likelihood scores, which use `infer`, keep the tree fixed and take its predictive density, a normalised mixture, as
    p(z).

    References:
        Goyal et al., Nonparametric Variational Auto-encoders for Hierarchical Representation Learning, 2017.
    """

    name = "ncrp_vae"
    generating: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "prior")
    updates_prior: ClassVar[bool] = True

    class Config(PartConfig):
        """The parts of a nonparametric variational autoencoder."""

        code_size: int = Field(64, gt=0)
        """d, the width of a code."""
        prior: genprior.PriorSpec
        """The tree; only `nested_crp` is possible."""
        fitted_prior: genprior.FittedPriorSpec | None = None
        """A prior that is fitted to the codes after training, and then draws new codes in the place of `prior`."""
        encoder: genprior.EncoderSpec
        """q(z | x), a Gaussian: posterior = "gaussian"."""
        decoder: genprior.DecoderSpec
        """dec(z), the mean of p(x | z)."""
        reconstruction: genprior.ReconstructionSpec
        """-log p(x | z) of each image, summed over its pixels."""
        conditioner: genprior.ConditionerSpec = NoCondition.Config()
        """The condition: `known` of images and `asked` of new ones."""
        memory: int = Field(2048, ge=1)
        """Number of codes, those of the last batches, that the tree is fitted to."""
        tree_every: int = Field(50, ge=1)
        """Steps of the networks from one update of the tree to the next."""
        sweeps: int = Field(1, ge=1)
        """Passes over all blocks of the tree in each of its updates."""
        warmup: int = Field(500, ge=0)
        """Steps of the networks before the tree is updated at all."""

    codes_mean: Tensor
    codes_variance: Tensor
    codes_seen: Tensor
    steps_seen: Tensor

    def __init__(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the parts, and an empty memory of codes.

        Raises:
            PlanError: the prior is no tree, the posterior no Gaussian, the reconstruction no likelihood of an image, or
                parts do not fit.
        """
        super().__init__(config)
        check_tree(self.name, config.prior)
        check_likelihood(self.name, config.reconstruction, info)
        check_gaussian_posterior(self.name, config.encoder)
        widths = config.conditioner.part.widths(config.conditioner, info)
        build.parts(self, Sizes(info.image, config.code_size, *widths))
        # Buffers, so that checkpoints save them and a resumed run has the same codes.
        self.register_buffer("codes_mean", torch.zeros(config.memory, config.code_size))
        self.register_buffer("codes_variance", torch.zeros(config.memory, config.code_size))
        self.register_buffer("codes_seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("steps_seen", torch.zeros((), dtype=torch.int64))

    def phases(self) -> tuple[Phase, ...]:
        """The networks at each step, the tree at each `tree_every`-th."""
        return Phase("network", self.network), Phase("tree", self.tree, every=self.config.tree_every)

    def clusters(self, batch: Batch) -> Tensor:
        """phi, the best q(c) of each image's posterior: [n, L], one cluster per leaf of the tree."""
        known, _ = self.conditioner(batch)
        q = gaussian_posterior(self, self.encoder, self.prior, batch.x, known)
        phi: Tensor = self.prior.responsibilities(q.mean, q.log_variance.exp())
        return phi

    def network(self, batch: Batch) -> Objectives:
        """The negative ELBO of an image, without the tree's divergence, which does not depend on the networks.

        E_q log p(x | z) is estimated with one code; all else is exact. In training mode the codes are stored.
        """
        known, _ = self.conditioner(batch)
        q = gaussian_posterior(self, self.encoder, self.prior, batch.x, known)
        variance = q.log_variance.exp()
        rec = self.reconstruction(batch.x, self.decoder(q.rsample(), known), known).mean()  # -E_q log p(x | z)
        entropy = 0.5 * (q.log_variance + math.log(2 * math.pi * math.e)).sum(1)  # H(q(z | x))
        kl = -(self.prior.bound(q.mean, variance) + entropy).mean()
        if self.training:
            overwrite_oldest(self.codes_mean, q.mean, self.codes_seen)
            self.codes_seen.add_(overwrite_oldest(self.codes_variance, variance, self.codes_seen))
            self.steps_seen.add_(1)
        learners = learning(self, "encoder", "decoder", "reconstruction", "conditioner")
        return Objectives(dict.fromkeys(learners, rec + kl), note={"reconstruction": rec, "kl": kl})

    def tree(self, batch: Batch) -> Objectives:
        """Fit the tree to the codes in memory, after the warm-up.

        The notes describe the tree before the update: its bound, in nats per code, and the number of leaves in use, as
        exp of the entropy of the mean of phi.
        """
        mean, variance, held = self.codes_mean, self.codes_variance, filled(self.codes_mean, self.codes_seen)
        count = held.sum().clamp(min=1)
        with torch.no_grad():
            bound = self.prior.tree_elbo(mean, variance, held) / count
            share = (held[:, None] * self.prior.responsibilities(mean, variance)).sum(0) / count
            leaves = (-torch.xlogy(share, share).sum()).exp()
        # No `if`, which would wait for the device: a sweep over codes of weight 0 leaves the tree as it is.
        weights = held * (self.steps_seen > self.config.warmup)

        def update() -> None:
            for _ in range(self.config.sweeps):
                self.prior.sweep(mean, variance, weights)

        return Objectives({}, note={"tree_elbo": bound, "leaves": leaves}, updates={"prior": update})
