"""The regularised autoencoder: a deterministic autoencoder with a smooth decoder and small codes.

Ghosh, Sajjadi, Vergari, Black and Schölkopf 2020 ("From variational to deterministic autoencoders"): the noise of a VAE
is replaced by a regulariser of the decoder, and the prior by a density that is fitted to the codes afterwards.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

import genprior
from genprior import Batch, Build, DataInfo, Objectives, PartConfig, Phase, Sizes
from genprior_std.checks.autoencoders import check_decodes, check_deterministic, check_only_draws
from genprior_std.checks.parts import check_fixed
from genprior_std.checks.trainable import learning
from genprior_std.conditioners.none import NoCondition
from genprior_std.layers.spectral import normalise_spectrally
from genprior_std.model_pieces.single_code import SingleCodeModel
from genprior_std.priors.gaussian import Gaussian

__all__ = ["RegularisedAutoencoder"]


class RegularisedAutoencoder(SingleCodeModel):
    """RAE: an autoencoder with a penalty on codes and a regulariser of the decoder.

        L = L_rec(x, dec(z)) + beta |z|^2 / 2 + reg_weight L_reg,    z = enc(x)

        l2:                L_reg = sum of the squares of all parameters of the decoder
        gradient_penalty:  L_reg = |d dec(z) / d z|^2 / 2, the squared Frobenius norm of the Jacobian
        spectral:          L_reg = 0; each weight of the decoder is divided by its largest singular value
        none:              L_reg = 0

    The Jacobian's norm is estimated without bias by one further backward pass, with random signs v, one for each pixel:
    E |v^T J|^2 = |J|^2 (Hutchinson). With batch normalisation in the decoder, J also has the influence of a code on the
    other images of the batch, and spectral norms no longer bound the slope, because its scales are learned.

    The prior, or a `fitted_prior`, draws images, and is never used in training; the penalty on codes only sets their
    size.

    References:
        Ghosh et al., From variational to deterministic autoencoders, 2020, section 3.
    """

    name = "rae"
    # Also the encoder: a reconstruction, and a prior fitted to codes, need both networks' averaged weights.
    generating: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "prior")

    class Config(PartConfig):
        """The parts of a regularised autoencoder."""

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
        """L_rec; the paper's is the squared error."""
        conditioner: genprior.ConditionerSpec = NoCondition.Config()
        """The condition: `known` of images and `asked` of new ones."""
        beta: float = Field(1e-3, ge=0, allow_inf_nan=False)
        """Weight of |z|^2 / 2, the mean over images of the sum over a code's numbers."""
        regularisation: Literal["l2", "gradient_penalty", "spectral", "none"] = "l2"
        """L_reg, or how the decoder is kept smooth."""
        reg_weight: float = Field(1e-5, ge=0, allow_inf_nan=False)
        """Weight of L_reg, lambda in the paper; `spectral` and `none` have no L_reg."""

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
        if config.regularisation == "spectral":
            normalise_spectrally(self.decoder)  # draws u and v under the seed of the model

    def phases(self) -> tuple[Phase, ...]:
        """One phase: encoder and decoder minimise L."""
        return (Phase("autoencode", self.autoencode),)

    def autoencode(self, batch: Batch) -> Objectives:
        """L_rec, the size of codes, and the decoder's regulariser, by one loss."""
        known, _ = self.conditioner(batch)
        with torch.enable_grad():  # the gradient penalty needs the graph from codes to images
            z = self.encoder(batch.x, known).rsample()
            z = z if z.requires_grad else z.detach().requires_grad_()  # an encoder may have no parameters
            x_rec = self.decoder(z, known)
            penalty = self._penalty(z, x_rec)  # L_reg
        rec = self.reconstruction(batch.x, x_rec, known).mean()  # L_rec
        size = _half_square(z)  # |z|^2 / 2
        loss = rec + self.config.beta * size + self.config.reg_weight * penalty
        learners = learning(self, "encoder", "decoder", "conditioner")
        note = {"reconstruction": rec, "size": size, "penalty": penalty}
        return Objectives(dict.fromkeys(learners, loss), note=note)

    def _penalty(self, z: Tensor, x_rec: Tensor) -> Tensor:
        """L_reg of images x_rec = dec(z) of codes z [n, d]; a scalar."""
        if self.config.regularisation == "l2":
            return torch.stack([weight.square().sum() for weight in self.decoder.parameters()]).sum()
        if self.config.regularisation == "gradient_penalty":
            signs = torch.randint_like(x_rec, 2) * 2 - 1
            (slopes,) = torch.autograd.grad((signs * x_rec).sum(), z, create_graph=True)  # v^T J, [n, d]
            return _half_square(slopes)  # |v^T J|^2 / 2
        return x_rec.new_zeros(())


def _half_square(rows: Tensor) -> Tensor:
    """Half the squared length of rows [n, d], averaged, in at least single precision; a scalar."""
    return 0.5 * rows.to(torch.promote_types(rows.dtype, torch.float32)).square().sum(1).mean()
