"""The generative adversarial network, with a choice of prior, game and condition.

Goodfellow et al. 2014 ("Generative adversarial networks"); with `nonsaturating` and a `uniform` prior the training of
Radford, Metz, Chintala 2016 ("DCGAN"); with the `infogan` conditioner that of Chen et al. 2016 ("InfoGAN"); with
`least_squares`, `wasserstein_gp`, `began`, `dfm` and `catgan` the models of those names.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

import genprior
from genprior import Batch, Build, Condition, DataInfo, Model, Objectives, PartConfig, Phase, PlanError, Sizes, remember
from genprior_std.checks.parts import check_mismatched
from genprior_std.checks.trainable import learns
from genprior_std.conditioners.none import NoCondition

__all__ = ["GenerativeAdversarialNetwork"]


class GenerativeAdversarialNetwork(Model):
    """GAN with any prior; a trainable prior is updated with the generator.

        judge:      critic <- L_D(x; dec(z)) + w L_I,    z ~ p(z | s)
        generate:   dec, prior <- L_G(dec(z)) + w L_I,   another z ~ p(z | s)
        L_I = E[-log Q(s | dec(z))],  0 unless the conditioner has a head Q, as 'infogan' has

    The two phases alternate, each with fresh codes; that of the generator is the method `deceive`, since `generate`
    makes images. A step is one update of the generator, after `critic_steps` updates of the critic, which divide the
    step's images equally: with `critic_steps = 5` and `run.batch = 320` each sees 64 different images. So models of
    equal `run.steps` have equal numbers of generator updates. Parameters of a game minimise its own loss beside the
    critic, and its state advances after each update of the critic.

    Q's head is on the critic's trunk and is updated only with the critic; L_I enters both losses, as in InfoGAN.

    With `mismatched_as_fake`, (x, known of another image) is a further fake of L_D: GAN-CLS. The other image is the
    previous one of the batch; it may have the same label by chance.

    References:
        Goodfellow et al., Generative adversarial networks, 2014, algorithm 1.
        Chen et al., InfoGAN, 2016, equation 6 and appendix C.
        Reed et al., Generative adversarial text to image synthesis, 2016, algorithm 1 (mismatched captions).
        Gulrajani et al., Improved training of Wasserstein GANs, 2017, algorithm 1 (several critic steps).
    """

    name = "gan"

    class Config(PartConfig):
        """The parts of a generative adversarial network."""

        code_size: int = Field(100, gt=0)
        """d, the width of a code."""
        prior: genprior.PriorSpec
        """p(z); a trainable prior is updated with the generator."""
        decoder: genprior.DecoderSpec
        """dec(z), the generator."""
        image_critic: genprior.CriticSpec
        """D, which tells images from decoded codes."""
        game: genprior.GameSpec
        """The game of the critic and the generator."""
        conditioner: genprior.ConditionerSpec = NoCondition.Config()
        """The condition: `known` of images and `asked` of new ones; `infogan` makes this InfoGAN."""
        info_weight: float = Field(1.0, ge=0, allow_inf_nan=False)
        """w, the weight of E[-log Q(s | dec(z))], InfoGAN's lambda."""
        mismatched_as_fake: bool = False
        """Whether D also judges real images with the condition of another image of the batch as fakes."""
        critic_steps: int = Field(1, gt=0)
        """Updates of the critic per update of the generator; they divide the images of a step."""

    def __init__(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the parts.

        Raises:
            PlanError: parts do not fit, or mismatched_as_fake is set where D does not see a condition.
        """
        super().__init__(config)
        widths = config.conditioner.part.widths(config.conditioner, info)
        build.parts(self, Sizes(info.image, config.code_size, *widths))
        if config.mismatched_as_fake:
            check_mismatched(self, widths.known)

    def phases(self) -> tuple[Phase, ...]:
        """The critic's phase, `critic_steps` times over, each with its share of the images; then the generator's."""
        steps = self.config.critic_steps
        if steps == 1:
            return Phase("judge", self.judge), Phase("generate", self.deceive)
        judging = (Phase(f"judge_{i + 1}", functools.partial(self._judge_share, i)) for i in range(steps))
        return *judging, Phase("generate", lambda batch: self.deceive(self._share(batch, 0)))

    def _judge_share(self, i: int, batch: Batch) -> Objectives:
        return self.judge(self._share(batch, i))

    def _share(self, batch: Batch, i: int) -> Batch:
        """The i-th of `critic_steps` parts of a batch."""
        steps = self.config.critic_steps
        if len(batch.x) < 2 * steps:
            raise PlanError(
                f"model '{self.name}' with critic_steps = {steps} divides the images of a step among {steps} updates "
                f"of the critic, and a batch of {len(batch.x)} leaves fewer than two images for each. "
                f"Set run.batch to {steps} times the images of one update, such as {64 * steps}"
            )
        text = None if batch.text is None else batch.text.tensor_split(steps)[i]
        x, y = batch.x.tensor_split(steps)[i], batch.y.tensor_split(steps)[i]
        return batch._replace(x=x, y=y, text=text, labelled=None)

    def judge(self, batch: Batch) -> Objectives:
        """The critic's phase: it learns to tell real images from generated ones."""
        known, asked = self.conditioner(batch)
        with torch.no_grad():
            x_new = self.decoder(self.prior.sample(asked), known)
        critic = remember(self.image_critic)
        real, fakes = (batch.x, known), [(x_new, known)]
        if self.config.mismatched_as_fake:
            fakes.append((batch.x, known.roll(1, 0)))
        judged = self.game.critic_loss(critic, real, *fakes)  # L_D
        info = self.conditioner.consistency(x_new, asked)  # L_I
        loss = judged + self.config.info_weight * info
        losses = {"image_critic": loss}
        if learns(self.conditioner):
            losses["conditioner"] = loss
        own = self.game.own_loss(critic, real, *fakes)
        if own is not None:
            # Modules with the same loss tensor share a backward pass; L_I has no gradient in the game's own parameters.
            losses["game"] = loss if own is judged else own
        advance = self.game.advance()
        updates = {} if advance is None else {"game": advance}
        return Objectives(losses, note={"info": info, **self.game.notes()}, updates=updates)

    def deceive(self, batch: Batch) -> Objectives:
        """The generator's phase: it learns to make images of fresh codes that the critic takes for real ones."""
        known, asked = self.conditioner(batch)
        x_new = self.decoder(self.prior.sample(asked), known)
        fool = self.game.generator_loss(remember(self.image_critic), (batch.x, known), (x_new, known))  # L_G
        info = self.conditioner.consistency(x_new, asked)  # L_I
        loss = fool + self.config.info_weight * info
        losses = {"decoder": loss}
        if learns(self.prior):
            losses["prior"] = loss
        return Objectives(losses, note={"info": info})

    def generate(self, condition: Condition) -> Tensor:
        """dec(z) with z from the prior, the same `sample` that training uses."""
        known, asked = condition
        images: Tensor = self.decoder(self.prior.sample(asked), known)
        return images
