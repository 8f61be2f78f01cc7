"""The variational autoencoder whose errors are measured in the features of a critic of images.

Larsen et al. 2015 ("Autoencoding beyond pixels using a learned similarity metric"): the decoder is also the generator
of an adversarial game, and the game's critic says what makes two images alike.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field

from genprior import (
    Batch,
    Build,
    ConditionerSpec,
    CriticSpec,
    DataInfo,
    DecoderSpec,
    EncoderSpec,
    GameSpec,
    Objectives,
    PartConfig,
    Phase,
    PriorSpec,
    ReconstructionSpec,
    Sizes,
    remember,
)
from genprior_std.checks.learning import check_cross_entropy, check_knows_its_condition
from genprior_std.checks.likelihoods import check_density, check_density_posterior, check_sum
from genprior_std.checks.parts import check_plain
from genprior_std.games.nonsaturating import NonSaturating
from genprior_std.model_pieces.equilibrium_gate import costs, moves
from genprior_std.model_pieces.learning import learns
from genprior_std.model_pieces.posterior_draws import density_posterior
from genprior_std.model_pieces.single_code import SingleCodeModel
from genprior_std.reconstruction.learned_similarity import LearnedSimilarity

__all__ = ["VaeGan"]


class VaeGan(SingleCodeModel):
    """VAE/GAN with any prior that knows its density.

        L_prior = KL(q(z | x) || p(z)),    L_llike = -E_q log N(F(x); F(x_rec), I),    x_rec = dec(z),  z ~ q(z | x)

        encoder:  beta L_prior + L_llike
        decoder:  gamma L_llike + L_G(dec(z_p), x_rec),    z_p ~ p(z)
        critic:   L_D(x; dec(z_p), x_rec)

    F(x) is a layer of the image critic, and the reconstruction part says which. L_D and L_G are the losses of the game:
    with `minimax`, L_G = E log(1 - D(dec(z_p))) + E log(1 - D(x_rec)), which is the part of the paper's L_GAN that
    depends on the decoder. All gradients are taken from one pass, before anything moves, as in the paper's algorithm 1.
    The game moves no encoder, and L_llike moves no critic. A prior that learns descends L_prior.

    L_prior and L_llike are in nats of an image, summed over coordinates of the code and over features, and estimated
    with one code an image; the batch is averaged.

    The gate is that of the authors' code. The critic's costs in a batch are its mean cross-entropy on real images and
    that on all fakes. A step leaves the critic where it is if one cost is below equilibrium - margin, and the decoder
    if one is above equilibrium + margin; if that would leave both, both move. What stays has its loss multiplied by 0,
    on the device, and recorded as 0. So an optimiser without momentum and weight decay, such as sgd or rmsprop, leaves
    its parameters exactly as they are; with momentum (adam has it) they coast on, and with weight decay they shrink.
    Running averages of batch normalisation go on in any case. Among several ranks, each gates its own part of a batch.

    References:
        Larsen, Soenderby, Larochelle, Winther, Autoencoding beyond pixels using a learned similarity metric, 2015,
        section 2.3 and algorithm 1. The gate, its 0.68 and 0.35, and the default of gamma are of the authors' code,
        where L_llike has the weight w = 1e-5 on CIFAR-10 and 1e-6 on CelebA, beside 1 - w for the game.
    """

    name = "vae_gan"
    # A VampPrior samples through the encoder, and a reconstruction should be made by networks of one average.
    generating: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "prior")

    class Config(PartConfig):
        """The parts of a VAE/GAN."""

        code_size: int = Field(64, gt=0)
        """d, the width of a code."""
        prior: PriorSpec
        """p(z), a prior with a density."""
        encoder: EncoderSpec
        """q(z | x), an encoder with a density: posterior = "gaussian"."""
        decoder: DecoderSpec
        """dec(z), the mean of p(x | z) and the generator of the game."""
        image_critic: CriticSpec
        """D, which tells images from decoded codes; its features are those in which images are compared."""
        reconstruction: ReconstructionSpec = LearnedSimilarity.Config(reduction="sum", scale="none")
        """L_llike of each image, summed over features; `layer` names the layer of the image critic."""
        conditioner: ConditionerSpec
        """What is told and asked."""
        game: GameSpec = NonSaturating.Config()
        """The game of the image critic and the decoder; the paper's is `minimax`."""
        reconstruction_as_fake: bool = True
        """Whether D also judges reconstructions as fakes, section 2.3."""
        beta: float = Field(1.0, gt=0, allow_inf_nan=False)
        """Weight of L_prior in the encoder's and the prior's step; the paper's is 1."""
        gamma: float = Field(1e-5, ge=0, allow_inf_nan=False)
        """Weight of L_llike in the decoder's step, beside 1 for the game."""
        gate: bool = False
        """Whether a critic that is far ahead, or a decoder that is, waits for the other one."""
        gate_equilibrium: float = Field(0.68, gt=0, allow_inf_nan=False)
        """The cost of a critic that is even with the decoder, in nats; log 2 = 0.69 is one that knows nothing."""
        gate_margin: float = Field(0.35, ge=0, allow_inf_nan=False)
        """How far a cost may be from the equilibrium, in nats."""

    def __init__(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the parts.

        Raises:
            PlanError: the prior or the posterior has no density, the reconstruction is an average, the gate does not
                fit the game, the conditioner would have to learn, or parts do not fit.
        """
        super().__init__(config)
        check_density(self.name, config.prior)
        check_sum(self.name, config.reconstruction)
        check_density_posterior(self.name, config.encoder)
        if config.gate:
            check_cross_entropy(self.name, config.game)
        widths = config.conditioner.part.widths(config.conditioner, info)
        build.parts(self, Sizes(info.image, config.code_size, *widths))
        check_plain(self.name, "game", self.game)
        check_knows_its_condition(self.name, self.conditioner)

    def phases(self) -> tuple[Phase, ...]:
        """One phase: encoder, decoder and critic move at once, each down its own loss (algorithm 1)."""
        return (Phase("autoencode", self.autoencode),)

    def autoencode(self, batch: Batch) -> Objectives:
        """The three losses of algorithm 1."""
        known, asked = self.conditioner(batch)
        q = density_posterior(self, self.encoder, batch.x, known)
        z = q.rsample()
        with torch.no_grad():
            z_prior = self.prior.sample(asked)
        x_rec, x_new = self.decoder(z, known), self.decoder(z_prior, known)
        kl = (q.log_prob(z) - self.prior.log_prob(z, asked)).mean()  # L_prior
        llike = self.reconstruction(batch.x, x_rec, known).mean()  # L_llike
        real, new, rec = (batch.x, known), (x_new, known), (x_rec, known)
        fakes = [new, rec] if self.config.reconstruction_as_fake else [new]
        critic = remember(self.image_critic)
        judge = self.game.critic_loss(critic, real, *fakes)  # -L_GAN
        fool = self.game.generator_loss(critic, *fakes)
        # The encoder makes x_rec, but descends nothing of the game.
        autoencoder = self.config.beta * kl + llike
        generator = self.config.gamma * llike + fool
        note = {"reconstruction": llike, "kl": kl, "fool": fool}
        if self.config.gate:
            on_real, on_fakes = costs(critic, real, fakes)
            critic_on, decoder_on = moves(on_real, on_fakes, self.config.gate_equilibrium, self.config.gate_margin)
            judge, generator = judge * critic_on, generator * decoder_on
            note |= {"cost_on_real": on_real, "cost_on_fakes": on_fakes}
            note |= {"critic_moves": critic_on, "decoder_moves": decoder_on}
        losses = {"encoder": autoencoder, "decoder": generator, "image_critic": judge}
        if learns(self.prior):
            losses["prior"] = autoencoder
        return Objectives(losses, note=note)
