"""The encoder of VAE/GAN."""

from __future__ import annotations

import math

from pydantic import Field
from torch import Tensor, nn

from genprior import PartConfig, Posterior, Sizes
from genprior_std.layers.conditions import with_known_maps
from genprior_std.layers.image_sizes import divided
from genprior_std.layers.posterior import PosteriorEncoder, PosteriorForm, posterior_from, posterior_layer

__all__ = ["LarsenEncoder"]


class LarsenEncoder(PosteriorEncoder):
    """The encoder of VAE/GAN: three 5x5 convolutions at stride 2 and two fully connected layers.

    5x5 convolution (w), BN, ReLU -> 5x5 convolution (2w), BN, ReLU -> 5x5 convolution (4w), BN, ReLU -> FC 1024, BN,
    ReLU -> FC mean and log variance. With w = 64 it is the published one, for 32 x 32 as for 64 x 64 images. A layer
    that is normalised has no bias, as published.

    References:
        Larsen et al., Autoencoding beyond pixels using a learned similarity metric, 2016; layers as in its code.
    """

    name = "larsen"

    class Config(PartConfig):
        """Settings of the encoder of VAE/GAN."""

        width: int = Field(default=64, gt=0)
        """w, the channels of the first convolution; the published network has 64."""
        hidden: int = Field(default=1024, gt=0)
        """Width of the fully connected layer."""
        conditional: bool = False
        """Whether the encoder sees `known`, as constant maps beside the image."""
        posterior: PosteriorForm = "gaussian"
        """A point, a Gaussian with a diagonal covariance, a softmax (a soft category), or von Mises-Fisher (sphere)."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the network.

        Args:
            config: this part's settings.
            sizes: every size that it depends on.

        Raises:
            PlanError: a side of the images is not divisible by 8.
        """
        super().__init__(config, sizes)
        cfg = self.config
        sides = divided("encoder 'larsen'", sizes.image, 8, "encoder 'mlp'")
        channels = (sizes.image[0] + (sizes.known if cfg.conditional else 0), cfg.width, 2 * cfg.width, 4 * cfg.width)
        self.convolutions = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(inputs, outputs, 5, 2, padding=2, bias=False),
                    nn.BatchNorm2d(outputs),
                    nn.ReLU(inplace=True),
                )
                for inputs, outputs in zip(channels, channels[1:], strict=False)
            )
        )
        self.to_code = nn.Sequential(
            nn.Linear(channels[-1] * math.prod(sides), cfg.hidden, bias=False),
            nn.BatchNorm1d(cfg.hidden),
            nn.ReLU(inplace=True),
            posterior_layer(cfg.posterior, cfg.hidden, sizes.code),
        )

    def forward(self, x: Tensor, known: Tensor) -> Posterior:
        """q(z | x, known) for images x [n, c, h, w] in [-1, 1] and known [n, k]."""
        if self.config.conditional:
            x = with_known_maps(x, known)
        return posterior_from(self.config.posterior, self.to_code(self.convolutions(x).flatten(1)))
