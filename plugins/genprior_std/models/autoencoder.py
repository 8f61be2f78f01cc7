"""The autoencoder: encoder and decoder minimise the error of reconstructions, and nothing else.

It is the baseline of all models that regularise codes, and the model that depends most on its prior: nothing makes the
codes of images follow any distribution.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

import genprior
from genprior import Batch, Build, DataInfo, Objectives, PartConfig, Phase, Sizes
from genprior_std.checks.autoencoders import check_decodes, check_deterministic, check_only_draws
from genprior_std.checks.parts import check_fixed
from genprior_std.checks.trainable import learning
from genprior_std.conditioners.none import NoCondition
from genprior_std.model_pieces.single_code import SingleCodeModel
from genprior_std.priors.gaussian import Gaussian

__all__ = ["Autoencoder"]


class Autoencoder(SingleCodeModel):
    """Autoencoder without any regularisation.

        L = L_rec(x, dec(enc(x)))

    The code is deterministic. The prior, or a `fitted_prior`, draws images, and is never used in training.

    References:
        Hinton and Salakhutdinov, Reducing the dimensionality of data with neural networks, 2006 (a deep autoencoder,
        here without its pretraining).
    """

    name = "autoencoder"
    # Also the encoder: a reconstruction, and a prior fitted to codes, need both networks' averaged weights.
    generating: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "prior")

    class Config(PartConfig):
        """The parts of an autoencoder."""

        code_size: int = Field(64, gt=0)
        """d, the width of a code."""
        prior: genprior.PriorSpec = Gaussian.Config()
        """p(z), of which codes of new images are drawn; without parameters."""
        fitted_prior: genprior.FittedPriorSpec | None = None
        """A prior that is fitted to the codes after training, and then draws new codes in the place of `prior`."""
        encoder: genprior.EncoderSpec
        """enc(x), with posterior = "point"."""
        decoder: genprior.DecoderSpec
        """dec(z)."""
        reconstruction: genprior.ReconstructionSpec
        """L_rec."""
        conditioner: genprior.ConditionerSpec = NoCondition.Config()
        """The condition: `known` of images and `asked` of new ones."""

    def __init__(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the parts.

        Raises:
            PlanError: the encoder draws codes, the decoder samples pixels, the prior or the reconstruction has
                parameters, or parts do not fit.
        """
        super().__init__(config)
        check_deterministic(self.name, config.encoder)
        check_decodes(self.name, config.decoder)
        widths = config.conditioner.part.widths(config.conditioner, info)
        build.parts(self, Sizes(info.image, config.code_size, *widths))
        check_only_draws(self.name, self.prior)
        check_fixed(self.name, self.reconstruction)

    def phases(self) -> tuple[Phase, ...]:
        """One phase: encoder and decoder minimise the reconstruction error."""
        return (Phase("autoencode", self.autoencode),)

    def autoencode(self, batch: Batch) -> Objectives:
        """L_rec, averaged over the batch."""
        known, _ = self.conditioner(batch)
        z = self.encoder(batch.x, known).rsample()
        rec = self.reconstruction(batch.x, self.decoder(z, known), known).mean()  # L_rec
        return Objectives(dict.fromkeys(learning(self, "encoder", "decoder", "conditioner"), rec))
