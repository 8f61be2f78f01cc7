"""The decoder of VAE/GAN."""

from __future__ import annotations

import math

from pydantic import Field
from torch import Tensor, nn

from genprior import PartConfig, Sizes
from genprior_std.layers.conditional_decoder import ConditionalDecoder
from genprior_std.layers.conditions import with_known
from genprior_std.layers.image_sizes import divided
from genprior_std.layers.pixels import PixelTanh

__all__ = ["LarsenDecoder"]


class LarsenDecoder(ConditionalDecoder):
    """The decoder of VAE/GAN: from a code to an eighth of the sides, and by three 5x5 up-convolutions to the image.

    FC 4w maps of an eighth of the sides, BN, ReLU -> 5x5 up-convolution (3w), BN, ReLU -> 5x5 up-convolution (2w), BN,
    ReLU -> 5x5 up-convolution (w/2), BN, ReLU -> 5x5 convolution to the image's channels, tanh in at least single
    precision. With w = 64 it is the published one: 256 x 4 x 4, 192, 128, 32 for 32 x 32 images. As published, the
    first up-convolution has 4w for 64 x 64 images; for larger ones too. A layer that is normalised has no bias, and the
    first batch normalisation keeps statistics per unit.

    References:
        Larsen et al., Autoencoding beyond pixels using a learned similarity metric, 2016; layers as in its code.
    """

    name = "larsen"

    class Config(PartConfig):
        """Settings of the decoder of VAE/GAN."""

        width: int = Field(default=64, gt=0, multiple_of=2)
        """w, half the channels of the second up-convolution; the published network has 64."""
        conditional: bool = False
        """Whether the decoder sees `known`, beside the code."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the network.

        Args:
            config: this part's settings.
            sizes: every size that it depends on.

        Raises:
            PlanError: a side of the images is not divisible by 8.
        """
        super().__init__(config, sizes)
        w = self.config.width
        sides = divided("decoder 'larsen'", sizes.image, 8, "decoder 'mlp'")
        channels = (4 * w, 4 * w if max(sizes.image[1:]) >= 64 else 3 * w, 2 * w, w // 2)
        inputs = sizes.code + (sizes.known if self.config.conditional else 0)
        units = channels[0] * math.prod(sides)
        self.stem = nn.Sequential(
            nn.Linear(inputs, units, bias=False),
            nn.BatchNorm1d(units),
            nn.ReLU(inplace=True),
            nn.Unflatten(1, (channels[0], *sides)),
        )
        self.convolutions = nn.Sequential(
            *(
                nn.Sequential(
                    nn.ConvTranspose2d(before, after, 5, 2, padding=2, output_padding=1, bias=False),
                    nn.BatchNorm2d(after),
                    nn.ReLU(inplace=True),
                )
                for before, after in zip(channels, channels[1:], strict=False)
            )
        )
        self.to_image = nn.Sequential(nn.Conv2d(channels[-1], sizes.image[0], 5, padding=2), PixelTanh())

    def forward(self, z: Tensor, known: Tensor) -> Tensor:
        """Images [n, c, h, w] in [-1, 1] from codes z [n, d] and known [n, k]."""
        if self.config.conditional:
            z = with_known(z, known)
        x: Tensor = self.to_image(self.convolutions(self.stem(z)))
        return x
