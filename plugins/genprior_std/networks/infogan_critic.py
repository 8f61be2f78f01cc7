"""The discriminator of InfoGAN, which shares its trunk with the recognition head."""

from __future__ import annotations

import math

from pydantic import Field
from torch import Tensor, nn

from genprior import PartConfig, Sizes
from genprior_std.layers.image_sizes import divided
from genprior_std.layers.initialisation import initialise_normal
from genprior_std.layers.layered_critic import LayeredCritic

__all__ = ["InfoganCritic"]


class InfoganCritic(LayeredCritic):
    """The discriminator that InfoGAN uses for MNIST, on logits.

    4x4 convolution (w) at stride 2, LReLU -> 4x4 convolution (2w) at stride 2, BN, LReLU -> FC 1024, BN, LReLU ->
    FC 1. With w = 64 it is the published one: 64 x 14 x 14 and 128 x 7 x 7 for 28 x 28 images. The trunk is the layer
    of 1024, which the recognition network Q uses as well. A layer that is normalised has no bias; the weights are
    initialised as in DCGAN. By default the slope is the paper's and pixels are in [-1, 1]; the published code has a
    slope of 0.01 and pixels in [0, 1], with which the padding of the convolutions is black instead of grey.

    References:
        Chen et al., InfoGAN, 2016, appendix C.1, table 1; initialisation as in its code.
    """

    name = "infogan"

    class Config(PartConfig):
        """Settings of the discriminator of InfoGAN."""

        width: int = Field(default=64, gt=0)
        """w, the maps of the first convolution; the published network has 64."""
        hidden: int = Field(default=1024, gt=0)
        """Width of the fully connected layer, which is the trunk that an auxiliary head may share."""
        slope: float = Field(default=0.1, ge=0, allow_inf_nan=False)
        """Slope of the leaky ReLUs below zero; the published code has 0.01."""
        unit_pixels: bool = False
        """Whether the network sees pixels in [0, 1], (x + 1) / 2, as in the published code, instead of [-1, 1]."""
        conditional: bool = False
        """Whether the critic sees `known`, as constant maps beside the image."""

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
        sides = divided("critic 'infogan'", sizes.image, 4, "critic 'image_mlp'")
        inputs = sizes.image[0] + (sizes.known if cfg.conditional else 0)
        self.layers = nn.ModuleDict(
            {
                "conv1": nn.Sequential(nn.Conv2d(inputs, w, 4, 2, padding=1), nn.LeakyReLU(cfg.slope, inplace=True)),
                "conv2": nn.Sequential(
                    nn.Conv2d(w, 2 * w, 4, 2, padding=1, bias=False),
                    nn.BatchNorm2d(2 * w),
                    nn.LeakyReLU(cfg.slope, inplace=True),
                ),
            }
        )
        self.to_trunk = nn.Sequential(
            nn.Flatten(),
            nn.Linear(2 * w * math.prod(sides), cfg.hidden, bias=False),
            nn.BatchNorm1d(cfg.hidden),
            nn.LeakyReLU(cfg.slope, inplace=True),
        )
        self.head = nn.Linear(cfg.hidden, 1)
        initialise_normal(self)

    def _map(self, x: Tensor, known: Tensor, layer: str) -> Tensor:
        """The map after the named layer, of pixels in the chosen range."""
        return super()._map(0.5 * (x + 1) if self.config.unit_pixels else x, known, layer)
