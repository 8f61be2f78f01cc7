"""The PixelGAN autoencoder: an adversarial autoencoder whose decoder is a PixelCNN.

Makhzani and Frey 2017 ("PixelGAN autoencoders"). With a `gaussian` prior the code holds what is global in an image and
the decoder adds what is local; with a `categorical` prior, and an encoder that ends in a softmax, the code is the kind
of image and the decoder holds the whole style.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from pydantic import Field

import genprior
from genprior import Batch, Build, DataInfo, Objectives, PartConfig, Phase, Sizes, remember
from genprior_std.checks.learning import check_learns_nothing
from genprior_std.checks.likelihoods import check_autoregressive
from genprior_std.checks.parts import check_enough_images, check_plain, check_sortable
from genprior_std.conditioners.none import NoCondition
from genprior_std.model_pieces.autoregressive_autoencoder import AutoregressiveAutoencoder
from genprior_std.model_pieces.sorting import Sorting

__all__ = ["PixelGanAutoencoder"]


class PixelGanAutoencoder(AutoregressiveAutoencoder):
    """Adversarial autoencoder whose decoder is autoregressive, with any prior that has no parameters.

        E log p(x) >= E[log p(x | z)] - KL(q(z) || p(z)) - I(z; x)

        code critic:  L_C of the game, on codes of the prior and of images
        encoder, decoder:  rec_weight E[-log p(x | z)] / (c h w) + adversarial_weight L_G of the game
        encoder, in a phase `sort`:  sorts.consistency C - sorts.information I, if one is not 0; see `Sorting`

    The last term of the bound, which would make code and image independent, is dropped, and a code critic replaces the
    second. So the training loss is not a bound on log p(x). Each pixel is predicted from the true ones before it and
    from z, the encoder's code of the true image: only through z does the gradient of the reconstruction reach the
    encoder.

    The paper alternates between the reconstruction and the adversarial phase. Here both losses share one phase, with
    one forward and one backward pass.

    A learned prior such as `code_generator` is not possible: it would learn from an image critic through the decoder,
    and an image that is sampled pixel by pixel passes no gradient to its code.

    With prior `categorical` log p(x) is exact, log 1/K sum_k p(x | e_k). It does not depend on the encoder.

    References:
        Makhzani and Frey, PixelGAN Autoencoders, 2017, section 2 (equations 1 and 2, figure 1) and section 3
        (figures 2 to 4).
    """

    name = "pixelgan"
    # Also the encoder: it sorts images and takes part in scores, which need both networks' averaged weights.
    generating: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "prior")

    class Config(PartConfig):
        """The parts of a PixelGAN autoencoder."""

        code_size: int = Field(64, gt=0)
        """d, the width of a code; with prior `categorical` the number of categories."""
        prior: genprior.PriorSpec
        """p(z), a prior without parameters."""
        encoder: genprior.EncoderSpec
        """q(z | x); with prior `categorical` one with posterior = "softmax"."""
        decoder: genprior.DecoderSpec
        """p(x | z), an autoregressive decoder."""
        code_critic: genprior.CriticSpec
        """Tells codes of the prior from codes of images."""
        conditioner: genprior.ConditionerSpec = NoCondition.Config()
        """The condition: `known` of images and `asked` of new ones."""
        code_game: genprior.GameSpec
        """The game of the code critic and the encoder."""
        rec_weight: float = Field(1.0, gt=0, allow_inf_nan=False)
        """Weight of -log p(x | z) / (c h w), in nats per sub-pixel, so that it does not depend on the images' size."""
        adversarial_weight: float = Field(1.0, ge=0, allow_inf_nan=False)
        """Weight of the code game in the encoder's step, the paper's cost multiplier."""
        sorts: Sorting = Sorting()
        """Losses that sort images into soft categories beside the game; none by default, as in the paper."""

    def __init__(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the parts.

        Raises:
            PlanError: the decoder has no likelihood of these images, the prior has parameters, the game has
                parameters or a state, `sorts` has a weight and codes are no categories, or parts do not fit.
        """
        super().__init__(config)
        check_sortable(self.name, config)
        check_autoregressive(self.name, config.decoder, info)
        widths = config.conditioner.part.widths(config.conditioner, info)
        build.parts(self, Sizes(info.image, config.code_size, *widths))
        check_plain(self.name, "code_game", self.code_game)
        check_learns_nothing(self.name, self.prior)

    def begin(self, draw: Callable[[int | None], Batch]) -> None:
        """Begin training, which needs at least one training image for each category.

        Raises:
            PlanError: the encoder ends in a softmax, over more categories than there are training images.
        """
        super().begin(draw)
        if self.categorical:
            check_enough_images(self.name, self.config.code_size, draw, "code_size")

    def phases(self) -> tuple[Phase, ...]:
        """The phase of the reconstruction and the game, and that of `sorts`."""
        sort = (Phase("sort", self.sort),) if self.config.sorts.on else ()
        return (Phase("regularise", self.regularise), *sort)

    def sort(self, batch: Batch) -> Objectives:
        """The phase of `sorts`: images and moved images get the same categories, and all categories are used."""
        known, _ = self.conditioner(batch)
        return Objectives(*self.config.sorts.losses(batch.x, lambda x: self.log_categories(x, known), batch.step))

    def regularise(self, batch: Batch) -> Objectives:
        """The reconstruction and the adversarial phase of the paper, in one step."""
        known, asked = self.conditioner(batch)
        with torch.no_grad():
            z_prior = self.prior.sample(asked)
        z = self.encoder(batch.x, known).rsample()
        rec = -self.decoder.log_prob(batch.x, z, known).mean() / batch.x[0].numel()
        critic = remember(self.code_critic)
        fool = self.code_game.generator_loss(critic, (z_prior, known), (z, known))
        # The code game does not depend on the decoder, so one loss and one backward pass serve both.
        autoencoder = self.config.rec_weight * rec + self.config.adversarial_weight * fool
        return Objectives(
            {
                "code_critic": self.code_game.critic_loss(critic, (z_prior, known), (z, known)),
                "encoder": autoencoder,
                "decoder": autoencoder,
            },
            note={"reconstruction": rec, "fool": fool},
        )
