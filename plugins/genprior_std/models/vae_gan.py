"""The variational autoencoder whose reconstruction error is measured in features of an image critic.

Larsen et al. 2015 ("Autoencoding beyond pixels using a learned similarity metric"): the decoder is also the generator
of an adversarial game, and features of the game's critic measure how alike two images are.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field

import genprior
from genprior import Batch, Build, DataInfo, Objectives, PartConfig, Phase, Sizes, remember
from genprior_std.checks.learning import check_cross_entropy, check_knows_its_condition
from genprior_std.checks.likelihoods import check_density, check_density_posterior, check_sum, check_support
from genprior_std.checks.parts import check_plain
from genprior_std.checks.trainable import learns
from genprior_std.conditioners.none import NoCondition
from genprior_std.games.nonsaturating import NonSaturating
from genprior_std.model_pieces.equilibrium_gate import costs, moves
from genprior_std.model_pieces.log_prior import log_prior
from genprior_std.model_pieces.posterior_draws import density_posterior
from genprior_std.model_pieces.single_code import SingleCodeModel
from genprior_std.reconstruction.learned_similarity import LearnedSimilarity

__all__ = ["VaeGan"]


class VaeGan(SingleCodeModel):
    """VAE/GAN with any prior that has a density.

        L_prior = KL(q(z | x) || p(z)),    L_llike = -E_q log N(F(x); F(x_rec), I),    x_rec = dec(z),  z ~ q(z | x)

        encoder:  beta L_prior + L_llike
        decoder:  gamma L_llike + L_G(dec(z_p), x_rec),    z_p ~ p(z)
        critic:   L_D(x; dec(z_p), x_rec)

    F(x) are the features of a layer of the image critic, named by the reconstruction part. L_D and L_G are the losses
    of the game: with `minimax`, L_G = E log(1 - D(dec(z_p))) + E log(1 - D(x_rec)), which is the part of the paper's
    L_GAN that depends on the decoder. All gradients are computed in one pass, before any update, as in the paper's
    algorithm 1. The game does not train the encoder, and L_llike not the critic. A trainable prior minimises L_prior.

    L_prior and L_llike are in nats per image, summed over coordinates of the code and over features, estimated with one
    code per image and averaged over the batch.

    The gate is that of the authors' code. The critic's costs in a batch are its mean cross-entropy on real images and
    that on all fakes. A step does not update the critic if one cost is below equilibrium - margin, nor the decoder if
    one is above equilibrium + margin; if both conditions hold, both are updated. A gated loss is multiplied by 0, on
    the device, and recorded as 0. So an optimiser without momentum and weight decay, such as sgd or rmsprop, leaves its
    parameters exactly as they are; with momentum (as in adam) they still move, and with weight decay they shrink. Batch
    normalisation updates its running averages in any case. With several ranks, each gates on its own part of a batch.

    References:
        Larsen, Soenderby, Larochelle, Winther, Autoencoding beyond pixels using a learned similarity metric, 2015,
        section 2.3 and algorithm 1. The gate, its 0.68 and 0.35, and the default of gamma are from the authors' code,
        where L_llike has the weight w = 1e-5 on CIFAR-10 and 1e-6 on CelebA, beside 1 - w for the game.
    """

    name = "vae_gan"
    # Also the encoder: a VampPrior samples through it, and a reconstruction needs both networks' averaged weights.
    generating: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "prior")

    class Config(PartConfig):
        """The parts of a VAE/GAN."""

        code_size: int = Field(64, gt=0)
        """d, the width of a code."""
        prior: genprior.PriorSpec
        """p(z), a prior with a density."""
        fitted_prior: genprior.FittedPriorSpec | None = None
        """A prior that is fitted to the codes after training, and then draws new codes in the place of `prior`."""
        encoder: genprior.EncoderSpec
        """q(z | x), an encoder with a density: posterior = "gaussian"."""
        decoder: genprior.DecoderSpec
        """dec(z), the mean of p(x | z) and the generator of the game."""
        image_critic: genprior.CriticSpec
        """D, which tells images from decoded codes; images are compared in its features."""
        reconstruction: genprior.ReconstructionSpec = LearnedSimilarity.Config(reduction="sum", scale="none")
        """L_llike of each image, summed over features; `layer` names the layer of the image critic."""
        conditioner: genprior.ConditionerSpec = NoCondition.Config()
        """The condition: `known` of images and `asked` of new ones."""
        game: genprior.GameSpec = NonSaturating.Config()
        """The game of the image critic and the decoder; the paper's is `minimax`."""
        reconstruction_as_fake: bool = True
        """Whether D also judges reconstructions as fakes, section 2.3."""
        beta: float = Field(1.0, gt=0, allow_inf_nan=False)
        """Weight of L_prior in the encoder's and the prior's step; the paper's is 1."""
        gamma: float = Field(1e-5, ge=0, allow_inf_nan=False)
        """Weight of L_llike in the decoder's step; the game has weight 1."""
        gate: bool = False
        """Whether the critic or the decoder skips its update when it is far ahead of the other."""
        gate_equilibrium: float = Field(0.68, gt=0, allow_inf_nan=False)
        """The cost of a critic that is even with the decoder, in nats; one that guesses has log 2 = 0.69."""
        gate_margin: float = Field(0.35, ge=0, allow_inf_nan=False)
        """How far a cost may be from the equilibrium, in nats."""

    def __init__(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the parts.

        Raises:
            PlanError: the prior or the posterior has no density, the reconstruction is an average, the gate does not
                fit the game, the conditioner has parameters, or parts do not fit.
        """
        super().__init__(config)
        check_density(self.name, config.prior)
        check_sum(self.name, config.reconstruction)
        check_density_posterior(self.name, config.encoder)
        check_support(self.name, config.prior, config.encoder)
        if config.gate:
            check_cross_entropy(self.name, config.game)
        widths = config.conditioner.part.widths(config.conditioner, info)
        build.parts(self, Sizes(info.image, config.code_size, *widths))
        check_plain(self.name, "game", self.game)
        check_knows_its_condition(self.name, self.conditioner)

    def phases(self) -> tuple[Phase, ...]:
        """One phase: encoder, decoder and critic are updated together, each by its own loss (algorithm 1)."""
        return (Phase("autoencode", self.autoencode),)

    def autoencode(self, batch: Batch) -> Objectives:
        """The three losses of algorithm 1."""
        known, asked = self.conditioner(batch)
        q = density_posterior(self, self.encoder, self.prior, batch.x, known)
        z = q.rsample()
        with torch.no_grad():
            z_prior = self.prior.sample(asked)
        x_rec, x_new = self.decoder(z, known), self.decoder(z_prior, known)
        kl = (q.log_prob(z) - log_prior(self.prior, z, asked, batch.index)).mean()  # L_prior
        llike = self.reconstruction(batch.x, x_rec, known).mean()  # L_llike
        real, new, rec = (batch.x, known), (x_new, known), (x_rec, known)
        fakes = [new, rec] if self.config.reconstruction_as_fake else [new]
        critic = remember(self.image_critic)
        judge = self.game.critic_loss(critic, real, *fakes)  # -L_GAN
        fool = self.game.generator_loss(critic, real, *fakes)
        # The encoder makes x_rec, but gets no gradient of the game.
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
