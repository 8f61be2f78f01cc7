"""The adversarial autoencoder, with a prior that may be learned.

Makhzani et al. 2015 ("Adversarial autoencoders", the first phase) and Wang, Peng, Ko 2020 ("Learning priors for
adversarial autoencoders", Algorithm 1, both phases). The three design choices of the paper's Table 3 are settings:
A is `improves.prior` with a `code_generator` prior, B is the `learned_similarity` reconstruction, C is
`improves.decoder`.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field

import genprior
from genprior import Batch, Build, DataInfo, Objectives, PartConfig, Phase, Sizes, remember
from genprior_std.checks.parts import check_adversarial, check_mismatched, check_recognises
from genprior_std.checks.trainable import learns
from genprior_std.conditioners.none import NoCondition
from genprior_std.model_pieces.improves import Improves, has_image_game
from genprior_std.model_pieces.single_code import SingleCodeModel

__all__ = ["AdversarialAutoencoder"]


class AdversarialAutoencoder(SingleCodeModel):
    """AAE with a choice of prior, reconstruction metric and condition.

    With codes z = enc(x) of images and z_c of the prior (CG, the code generator, if it is trainable), x_rec = dec(z)
    and x_new = dec(z_c), each network minimises, with the games in their non-saturating form:

        regularise:     D_C      L_C = -log D_C(z_c) - log(1 - D_C(z))                                 (equation 5)
                        enc      rec_weight L_rec - log D_C(z)
                        dec      rec_weight L_rec,   L_rec = |F(x) - F(x_rec)|^2 / N, or another reconstruction
        improve_prior:  D_I, Q   L_I = -log D_I(x) - log(1 - D_I(x_new)) - log(1 - D_I(x_rec)) + L_Q   (equation 4)
                        CG, dec  -log D_I(x_new) - log D_I(x_rec) + L_Q,   L_Q = info_weight E[-log Q(s | x_new)]

    `regularise` also reconstructs: it is both phases of Makhzani et al., reconstruction and regularisation, in one
    step. Modules that a phase does not name are frozen in it: CG in the first, enc in the second. The second phase
    trains CG and dec if `improves` names them, and uses x_rec with `reconstruction_as_fake`. Conditional networks also
    see `known`. Algorithm 1 as printed has each L with the opposite sign (docs/paper.md, "Signs"); L_Q has the opposite
    sign of the paper's I(s; x_new).

    With `mismatched_as_fake`, L_I has a further term -log(1 - D_I(x, known of another image)), as in GAN-CLS (Reed et
    al., "Generative adversarial text to image synthesis", 2016, algorithm 1); no image is made for it. The other image
    is the previous one of the batch; it may have the same label by chance.
    """

    name = "aae"

    class Config(PartConfig):
        """The parts of an adversarial autoencoder."""

        code_size: int = Field(64, gt=0)
        """d, the width of a code."""
        prior: genprior.PriorSpec
        """p(z); with A, a learned one."""
        fitted_prior: genprior.FittedPriorSpec | None = None
        """A prior that is fitted to the codes after training, and then draws new codes in the place of `prior`."""
        encoder: genprior.EncoderSpec
        """q(z | x)."""
        decoder: genprior.DecoderSpec
        """dec(z)."""
        code_critic: genprior.CriticSpec
        """D_C, which tells codes of the prior from codes of images."""
        image_critic: genprior.CriticSpec | None = None
        """D_I, which tells images from decoded codes; needed only by `improves` and by parts that borrow it."""
        reconstruction: genprior.ReconstructionSpec
        """L_rec; with B, the error in the image critic's features."""
        conditioner: genprior.ConditionerSpec = NoCondition.Config()
        """The condition: `known` of images and `asked` of new ones."""
        code_game: genprior.GameSpec
        """The game of the code critic and the encoder, equation 5."""
        image_game: genprior.GameSpec | None = None
        """The game of the image critic, the code generator and the decoder, equation 4."""
        improves: Improves = Improves()
        """Which modules the second phase trains."""
        reconstruction_as_fake: bool = True
        """Whether D_I also judges reconstructions as fakes, log(1 - D_I(x_rec)) in Algorithm 1."""
        mismatched_as_fake: bool = False
        """Whether D_I also judges real images with the condition of another image of the batch as fakes."""
        rec_weight: float = Field(1.0, gt=0)
        """Weight of L_rec in the encoder's and the decoder's step, lambda in Algorithm 1."""
        info_weight: float = Field(1.0, ge=0)
        """Weight of E[-log Q(s | dec(z_c))], the negative of InfoGAN's bound on I(s; dec(z_c))."""
        info_from: Literal["new", "real", "both"] = "new"
        """Which images Q learns from: x_new, or real ones with their own condition, -log Q(s | x), as in AC-GAN."""

    def __init__(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the parts; the image critic only if the reconstruction, the condition, A or C needs it.

        Raises:
            PlanError: improves.prior is set for a prior without parameters, a game has a state, mismatched_as_fake is
                set where D_I does not see a condition, info_from where no Q knows what to read, or parts do not fit.
        """
        super().__init__(config)
        widths = config.conditioner.part.widths(config.conditioner, info)
        self.two_phases = has_image_game(self.name, config)
        sizes = Sizes(info.image, config.code_size, *widths)
        build.parts(self, sizes, without=() if self.two_phases else ("image_critic", "image_game"))
        check_adversarial(self)
        if config.mismatched_as_fake:
            check_mismatched(self, widths.known)
        if config.info_from != "new":
            check_recognises(self)

    def phases(self) -> tuple[Phase, ...]:
        """The AAE phase and, where there is an image critic, the prior-improvement phase (Algorithm 1)."""
        regularise = Phase("regularise", self.regularise)
        return (regularise, Phase("improve_prior", self.improve_prior)) if self.two_phases else (regularise,)

    def regularise(self, batch: Batch) -> Objectives:
        """The AAE phase: the encoder's codes are matched to the prior, and images are reconstructed."""
        known, asked = self.conditioner(batch)
        with torch.no_grad():
            z_c = self.prior.sample(asked)
        z = self.encoder(batch.x, known).rsample()
        rec = self.reconstruction(batch.x, self.decoder(z, known), known).mean()  # L_rec
        critic = remember(self.code_critic)
        fool = self.code_game.generator_loss(critic, (z_c, known), (z, known))  # -log D_C(z); with minimax, -L_C
        # The code game does not depend on the decoder, so one loss and one backward pass serve both.
        autoencoder = self.config.rec_weight * rec + fool
        return Objectives(
            {
                "code_critic": self.code_game.critic_loss(critic, (z_c, known), (z, known)),
                "encoder": autoencoder,
                "decoder": autoencoder,
            },
            note={"reconstruction": rec, "fool": fool},
        )

    def improve_prior(self, batch: Batch) -> Objectives:
        """The prior-improvement phase: images decoded from the prior are matched to real ones."""
        known, asked = self.conditioner(batch)
        improves = self.config.improves
        with torch.set_grad_enabled(bool(improves.modules)):  # saves memory; run_phase decides what is trained
            x_new = self.decoder(self.prior.sample(asked), known)
        fakes = [(x_new, known)]
        if self.config.reconstruction_as_fake:
            with torch.no_grad():
                z = self.encoder(batch.x, known).rsample()
            with torch.set_grad_enabled(improves.decoder):
                fakes.append((self.decoder(z, known), known))
        critic, real = remember(self.image_critic), (batch.x, known)
        info = self.conditioner.consistency(x_new, asked)  # E[-log Q(s | x_new)]
        mismatched = [(batch.x, known.roll(1, 0))] if self.config.mismatched_as_fake else []
        judge = self.image_game.critic_loss(critic, real, *fakes, *mismatched)  # L_I
        if self.config.info_from != "real":
            judge = judge + self.config.info_weight * info
        if self.config.info_from != "new":
            judge = judge + self.config.info_weight * self.conditioner.recognition(batch.x, known)
        losses = {"image_critic": judge}
        if learns(self.conditioner):
            losses["conditioner"] = judge
        if improves.modules:
            # -log D_I(x_new) - log D_I(x_rec) + L_Q; with minimax, log(1 - D_I(x_new)) + log(1 - D_I(x_rec)) + L_Q
            fool = self.image_game.generator_loss(critic, real, *fakes) + self.config.info_weight * info
            losses |= dict.fromkeys(improves.modules, fool)
        return Objectives(losses, note={"info": info})
