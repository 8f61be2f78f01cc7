"""The decoder of the VampPrior's paper: gated fully connected layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from genprior import PartConfig, Sizes
from genprior_std.layers.conditional_decoder import ConditionalDecoder
from genprior_std.layers.gated import GatedMlp, he_normal
from genprior_std.layers.pixels import PixelTanh

__all__ = ["GatedMlpDecoder"]


class GatedMlpDecoder(ConditionalDecoder):
    """Gated layers from the code to the pixels, for images of any size.

    z - 300 - 300 - x = tanh(u / 2), in at least single precision, so that the probability of a white pixel, (x + 1) /
    2, is sigmoid(u) as in the paper. With a condition there are two first layers, [z - 300, known - 300] - 300, which
    is p(x | z1, z2) of the hierarchical VAE where z is z1 and `known` is z2.

    References:
        Tomczak and Welling, VAE with a VampPrior, 2017, section 5 (gated layers of 300 units).
    """

    name = "gated_mlp"

    class Config(PartConfig):
        """Settings of the gated fully connected decoder."""

        retired: ClassVar[Mapping[str, Any]] = {"start_from_mean": False}

        hidden: tuple[PositiveInt, ...] = Field(default=(300, 300), min_length=1)
        """Widths of the hidden layers; with a condition, the first is the width of each stream."""
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
        self.layers = GatedMlp(sizes.code, cfg.hidden, sizes.known if cfg.conditional else 0)
        self.to_image = nn.Sequential(
            he_normal(nn.Linear(self.layers.width, math.prod(sizes.image))), PixelTanh(scale=0.5)
        )

    def forward(self, z: Tensor, known: Tensor) -> Tensor:
        """Images [n, c, h, w] in [-1, 1] from codes z [n, d] and known [n, k]."""
        pixels: Tensor = self.to_image(self.layers(z, known))
        return pixels.view(-1, *self.sizes.image)
