"""The generator of InfoGAN."""

from __future__ import annotations

import math

from pydantic import Field
from torch import Tensor, nn

from genprior import PartConfig, Sizes
from genprior_std.layers.conditional_decoder import ConditionalDecoder
from genprior_std.layers.conditions import with_known
from genprior_std.layers.image_sizes import divided
from genprior_std.layers.initialisation import initialise_normal
from genprior_std.layers.pixels import PixelTanh

__all__ = ["InfoganDecoder"]


class InfoganDecoder(ConditionalDecoder):
    """The generator that InfoGAN uses for MNIST: two fully connected layers and two up-convolutions.

    FC 1024, BN, ReLU -> FC 2w maps of a quarter of the sides, BN, ReLU -> 4x4 up-convolution (w) at stride 2, BN, ReLU
    -> 4x4 up-convolution to the image's channels at stride 2 -> the mean of a Bernoulli distribution: with p =
    sigmoid(u) the probability of white, x = 2p - 1 = tanh(u / 2), in at least single precision. With w = 64 it is the
    published one: 128 x 7 x 7 and 64 x 14 x 14 for 28 x 28 images. A layer that is normalised has no bias; the weights
    are initialised as in DCGAN.

    References:
        Chen et al., InfoGAN, 2016, appendix C.1, table 1; normalisation and initialisation as in its code.
    """

    name = "infogan"

    class Config(PartConfig):
        """Settings of the generator of InfoGAN."""

        width: int = Field(default=64, gt=0)
        """w, the maps before the last up-convolution; the published network has 64."""
        hidden: int = Field(default=1024, gt=0)
        """Width of the first fully connected layer; the published network has 1024."""
        conditional: bool = False
        """Whether the decoder sees `known`, beside the code."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the network.

        Args:
            config: this part's settings.
            sizes: every size that it depends on.

        Raises:
            PlanError: a side of the images is not divisible by 4.
        """
        super().__init__(config, sizes)
        cfg, w = self.config, self.config.width
        sides = divided("decoder 'infogan'", sizes.image, 4, "decoder 'mlp'")
        inputs = sizes.code + (sizes.known if cfg.conditional else 0)
        units = 2 * w * math.prod(sides)
        self.stem = nn.Sequential(
            nn.Linear(inputs, cfg.hidden, bias=False),
            nn.BatchNorm1d(cfg.hidden),
            nn.ReLU(inplace=True),
            nn.Linear(cfg.hidden, units, bias=False),
            nn.BatchNorm1d(units),
            nn.ReLU(inplace=True),
            nn.Unflatten(1, (2 * w, *sides)),
        )
        self.convolutions = nn.Sequential(
            nn.ConvTranspose2d(2 * w, w, 4, 2, padding=1, bias=False), nn.BatchNorm2d(w), nn.ReLU(inplace=True)
        )
        self.to_image = nn.Sequential(
            nn.ConvTranspose2d(w, sizes.image[0], 4, 2, padding=1),
            PixelTanh(scale=0.5),
        )
        initialise_normal(self)

    def forward(self, z: Tensor, known: Tensor) -> Tensor:
        """Images [n, c, h, w] in [-1, 1] from codes z [n, d] and known [n, k]."""
        if self.config.conditional:
            z = with_known(z, known)
        x: Tensor = self.to_image(self.convolutions(self.stem(z)))
        return x
