"""The Wasserstein autoencoder: the codes of all images together are matched to a prior, without a critic.

Tolstikhin, Bousquet, Gelly and Schölkopf 2018 ("Wasserstein auto-encoders") with the maximum mean discrepancy, WAE-MMD;
Kolouri, Pope, Martin and Rohde 2018 ("Sliced-Wasserstein autoencoder") with the sliced Wasserstein distance. With a
critic, WAE-GAN, it is the model `aae`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

import genprior
from genprior import Batch, Build, DataInfo, Objectives, PartConfig, Phase, Sizes
from genprior_std.checks.autoencoders import check_decodes
from genprior_std.checks.parts import check_fixed
from genprior_std.checks.trainable import learning, learns
from genprior_std.conditioners.none import NoCondition
from genprior_std.layers.conditions import with_known
from genprior_std.model_pieces.matching import Kernel, sliced_wasserstein, squared_mmd
from genprior_std.model_pieces.single_code import SingleCodeModel

__all__ = ["WassersteinAutoencoder"]


class WassersteinAutoencoder(SingleCodeModel):
    """Wasserstein autoencoder with any prior: only draws of it are needed.

        L = L_rec(x, dec(z)) + divergence_weight D(q(z), p(z)),    z ~ q(z | x)                          (equation 4)

        mmd:     D = MMD^2, unbiased, with the kernel C / (C + |z - z'|^2) at seven scales or a Gaussian one
        sliced:  D = SW^2, the mean over random directions of the squared 2-Wasserstein distance in one dimension

    q(z) is the distribution of codes of all images, so D compares the codes of a batch with as many draws from the
    prior. Encoder and decoder minimise L, and so does a prior that has parameters: it moves towards the codes as they
    move towards it. The encoder may be deterministic or not.

    References:
        Tolstikhin et al., Wasserstein auto-encoders, 2018, equation 4 and algorithm 2.
        Kolouri et al., Sliced-Wasserstein autoencoder, 2018, algorithm 1.
    """

    name = "wae"
    # Also the encoder: a reconstruction, and a prior fitted to codes, need both networks' averaged weights.
    generating: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "prior")

    class Config(PartConfig):
        """The parts of a Wasserstein autoencoder."""

        code_size: int = Field(64, gt=0)
        """d, the width of a code."""
        prior: genprior.PriorSpec
        """p(z); one with parameters learns too."""
        fitted_prior: genprior.FittedPriorSpec | None = None
        """A prior that is fitted to the codes after training, and then draws new codes in the place of `prior`."""
        encoder: genprior.EncoderSpec
        """q(z | x)."""
        decoder: genprior.DecoderSpec
        """dec(z)."""
        reconstruction: genprior.ReconstructionSpec
        """L_rec; the paper's cost is the sum of squared errors."""
        conditioner: genprior.ConditionerSpec = NoCondition.Config()
        """The condition: `known` of images and `asked` of new ones."""
        divergence: Literal["mmd", "sliced"] = "mmd"
        """D: the maximum mean discrepancy, or the sliced Wasserstein distance."""
        divergence_weight: float = Field(1.0, gt=0, allow_inf_nan=False)
        """Weight of D, lambda in the paper."""
        kernel: Kernel = "imq"
        """The kernel of `mmd`: inverse multiquadratics, or Gaussian."""
        sigma: float = Field(1.0, gt=0, allow_inf_nan=False)
        """The scale of codes, in the kernel's width C = 2 d sigma^2; the standard deviation of a Gaussian prior."""
        projections: int = Field(50, gt=0)
        """L, the number of random directions of `sliced`."""
        conditional: bool = False
        """Whether D compares pairs (z, known) instead of codes: for a prior that depends on the condition."""

    def __init__(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the parts.

        Raises:
            PlanError: the decoder samples pixels, the reconstruction has parameters, or parts do not fit.
        """
        super().__init__(config)
        check_decodes(self.name, config.decoder)
        widths = config.conditioner.part.widths(config.conditioner, info)
        build.parts(self, Sizes(info.image, config.code_size, *widths))
        check_fixed(self.name, self.reconstruction)

    def phases(self) -> tuple[Phase, ...]:
        """One phase: images are reconstructed, and their codes are matched to the prior."""
        return (Phase("match", self.match),)

    def match(self, batch: Batch) -> Objectives:
        """L_rec and D, by one backward pass."""
        known, asked = self.conditioner(batch)
        with torch.set_grad_enabled(learns(self.prior)):
            z_p = self.prior.sample(asked)
        z = self.encoder(batch.x, known).rsample()
        rec = self.reconstruction(batch.x, self.decoder(z, known), known).mean()  # L_rec
        divergence = self._divergence(z, z_p, known)  # D(q(z), p(z))
        loss = rec + self.config.divergence_weight * divergence
        learners = learning(self, "encoder", "decoder", "prior", "conditioner")
        return Objectives(dict.fromkeys(learners, loss), note={"reconstruction": rec, "divergence": divergence})

    def _divergence(self, z: Tensor, z_p: Tensor, known: Tensor) -> Tensor:
        """D of codes z and draws z_p of the prior, both [n, d]; a scalar."""
        config = self.config
        if config.conditional:
            z, z_p = with_known(z, known), with_known(z_p, known)
        if config.divergence == "sliced":
            return sliced_wasserstein(z, z_p, config.projections)
        return squared_mmd(z, z_p, config.kernel, config.sigma)
