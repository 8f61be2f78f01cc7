"""An encoder of strided convolutions, for images of any size."""

from __future__ import annotations

import math

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from genprior import PartConfig, Posterior, Sizes
from genprior_std.layers.conditions import with_known_maps
from genprior_std.layers.fully_connected import Activation, activation
from genprior_std.layers.posterior import PosteriorEncoder, PosteriorForm, code_norm, posterior_from, posterior_layer

__all__ = ["StridedEncoder"]


class StridedEncoder(PosteriorEncoder):
    """3x3 convolutions at stride 2, each halving the sides (rounded up), and one fully connected layer to the code.

    3x3 convolution (64), BN, ReLU -> 3x3 convolution (128), BN, ReLU -> 3x3 convolution (256), BN, ReLU -> FC by
    default. A layer that is normalised has no bias: the normalisation would subtract it again.

    `input_noise` makes the code a random function z = f(x, n) of the image, with n added to the pixels: an implicit
    q(z | x), without a density. It is drawn in training mode only.

    References:
        Makhzani and Frey, PixelGAN Autoencoders, 2017, section 2 (z = f(x, n)). The text does not
        name the layers; these are common ones.
    """

    name = "strided"

    class Config(PartConfig):
        """Settings of the encoder of strided convolutions."""

        widths: tuple[PositiveInt, ...] = Field(default=(64, 128, 256), min_length=1)
        """Channels of each convolution."""
        activation: Activation = "relu"
        """What follows each convolution."""
        batch_norm: bool = True
        """Batch normalisation between a convolution and its activation."""
        conditional: bool = False
        """Whether the encoder sees `known`, as constant maps beside the image."""
        posterior: PosteriorForm = "point"
        """A point, a Gaussian with a diagonal covariance, a softmax (a soft category), or von Mises-Fisher (sphere)."""
        normalise_code: bool = False
        """Batch normalisation, with a learned scale and shift, of the code; for a softmax, of its logits."""
        input_noise: float = Field(default=0.0, ge=0, allow_inf_nan=False)
        """Standard deviation of Gaussian noise on the pixels, which lie in [-1, 1], while training."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the network.

        Args:
            config: this part's settings.
            sizes: every size that it depends on.

        Raises:
            PlanError: `normalise_code` is on and the posterior is Gaussian.
        """
        super().__init__(config, sizes)
        cfg = self.config
        inputs, *sides = sizes.image
        channels = (inputs + (sizes.known if cfg.conditional else 0), *cfg.widths)
        layers: list[nn.Module] = []
        for before, after in zip(channels, channels[1:], strict=False):
            layers.append(nn.Conv2d(before, after, 3, stride=2, padding=1, bias=not cfg.batch_norm))
            layers += [nn.BatchNorm2d(after)] if cfg.batch_norm else []
            layers.append(activation(cfg.activation))
            sides = [math.ceil(side / 2) for side in sides]
        self.convolutions = nn.Sequential(*layers)
        self.to_code = posterior_layer(
            cfg.posterior, channels[-1] * math.prod(sides), sizes.code, bias=not cfg.normalise_code
        )
        self.code_norm = code_norm(self.name, cfg.posterior, sizes.code, cfg.normalise_code)

    def forward(self, x: Tensor, known: Tensor) -> Posterior:
        """q(z | x, known) for images x [n, c, h, w] in [-1, 1] and known [n, k]."""
        if self.training and self.config.input_noise:
            x = x + self.config.input_noise * torch.randn_like(x)
        if self.config.conditional:
            x = with_known_maps(x, known)
        code = self.code_norm(self.to_code(self.convolutions(x).flatten(1)))
        return posterior_from(self.config.posterior, code)
