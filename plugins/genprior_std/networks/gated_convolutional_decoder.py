"""The convolutional decoder of the VampPrior's paper: gated layers to the size of the image, then convolutions."""

from __future__ import annotations

import math

from pydantic import Field
from torch import Tensor, nn

from genprior import PartConfig, Sizes
from genprior_std.layers.conditional_decoder import ConditionalDecoder
from genprior_std.layers.gated import GatedConvolution, GatedMlp
from genprior_std.layers.pixels import PixelTanh

__all__ = ["GatedConvolutionalDecoder"]

DEPTH = 4
"""Number of gated convolutions."""


class GatedConvolutionalDecoder(ConditionalDecoder):
    """Gated layers from the code to a first image, which gated convolutions refine; for images of any size.

    z - 300 - c h w, as maps [c, h, w] -> four gated 3x3 convolutions (64) -> 1x1 convolution, x = tanh(u / 2) in at
    least single precision, so that the probability of a white pixel, (x + 1) / 2, is sigmoid(u) as in the paper. With a
    condition there are two first layers, [z - 300, known - 300] - c h w: p(x | z1, z2) of the hierarchical VAE where z
    is z1 and `known` is z2.

    References:
        Tomczak and Welling, VAE with a VampPrior, 2017, the convolutional hierarchical VAE; layers as in its code.
    """

    name = "gated_convolutional"

    class Config(PartConfig):
        """Settings of the gated convolutional decoder."""

        width: int = Field(default=64, gt=0)
        """Channels of each gated convolution."""
        hidden: int = Field(default=300, gt=0)
        """Width of the first gated layer, and of the one for `known`."""
        conditional: bool = False
        """Whether the decoder sees `known`, through a first layer of its own."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the network.

        Args:
            config: this part's settings.
            sizes: every size that it depends on.
        """
        super().__init__(config, sizes)
        cfg = self.config
        channels = sizes.image[0]
        widths = (cfg.hidden, math.prod(sizes.image))
        self.layers = GatedMlp(sizes.code, widths, sizes.known if cfg.conditional else 0)
        self.convolutions = nn.Sequential(
            *(GatedConvolution(cfg.width if i else channels, cfg.width) for i in range(DEPTH))
        )
        self.to_image = nn.Sequential(nn.Conv2d(cfg.width, channels, 1), PixelTanh(scale=0.5))

    def forward(self, z: Tensor, known: Tensor) -> Tensor:
        """Images [n, c, h, w] in [-1, 1] from codes z [n, d] and known [n, k]."""
        maps = self.layers(z, known).view(-1, *self.sizes.image)
        x: Tensor = self.to_image(self.convolutions(maps))
        return x
