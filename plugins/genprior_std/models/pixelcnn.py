"""A conditional PixelCNN alone: a likelihood of images without a code.

van den Oord et al. 2016 ("Conditional image generation with PixelCNN decoders"). Makhzani and Frey 2017 ("PixelGAN
autoencoders", figure 2b) compare it with their model, here `pixelgan`, at a receptive field of the same size.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

import genprior
from genprior import Batch, Build, Condition, DataInfo, Model, Objectives, PartConfig, Phase, Sizes
from genprior_std.checks.likelihoods import check_autoregressive
from genprior_std.conditioners.none import NoCondition

__all__ = ["PixelConvolutionalNetwork"]


class PixelConvolutionalNetwork(Model):
    """An autoregressive decoder alone, trained by its exact likelihood.

        loss = E[-log p(x)] / (c h w),    log p(x) = sum_i log p(x_i | x_1, ..., x_{i-1})

    in nats per sub-pixel. The decoder is built for codes of width 0. With a condition the likelihood is p(x |
    condition), provided that the decoder is conditional.

    References:
        van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016, equations 1 and 3.
    """

    name = "pixelcnn"
    generating: ClassVar[tuple[str, ...]] = ("decoder",)

    class Config(PartConfig):
        """The parts of a PixelCNN."""

        decoder: genprior.DecoderSpec
        """p(x), an autoregressive decoder."""
        conditioner: genprior.ConditionerSpec = NoCondition.Config()
        """The condition: `known` of images and `asked` of new ones."""

    def __init__(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the parts.

        Raises:
            PlanError: the decoder has no likelihood of these images, or parts do not fit.
        """
        super().__init__(config)
        check_autoregressive(self.name, config.decoder, info)
        widths = config.conditioner.part.widths(config.conditioner, info)
        build.parts(self, Sizes(info.image, 0, *widths))

    def phases(self) -> tuple[Phase, ...]:
        """One phase: the decoder maximises the likelihood."""
        return (Phase("likelihood", self.likelihood),)

    def likelihood(self, batch: Batch) -> Objectives:
        """The negative log-likelihood in nats per sub-pixel."""
        return Objectives({"decoder": -self.log_likelihood(batch).mean() / batch.x[0].numel()})

    def log_likelihood(self, batch: Batch) -> Tensor:
        """The natural logarithm of p(x), exact, [n] in nats; with a condition, of p(x | condition)."""
        known, _ = self.conditioner(batch)
        log_p: Tensor = self.decoder.log_prob(batch.x, _no_code(known), known)
        return log_p

    def generate(self, condition: Condition) -> Tensor:
        """Images drawn pixel by pixel, [n, c, h, w]."""
        images: Tensor = self.decoder(_no_code(condition.known), condition.known)
        return images


def _no_code(like: Tensor) -> Tensor:
    return like.new_empty(len(like), 0)
