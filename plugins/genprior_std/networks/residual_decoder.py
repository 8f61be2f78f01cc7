"""The paper's decoder: a pyramid of up-sampling residual blocks."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor, nn

from genprior import PartConfig, Sizes
from genprior_std.layers.conditional_decoder import ConditionalDecoder
from genprior_std.layers.conditions import with_known
from genprior_std.layers.image_sizes import doublings
from genprior_std.layers.pixels import PixelTanh
from genprior_std.layers.residual import CodeToMap, UpBlock, pyramid

__all__ = ["ResidualDecoder"]


class ResidualDecoder(ConditionalDecoder):
    """The decoder of Table 2: from a code to 4 x 4, and by up-sampling residual blocks to the image.

    The code as d x 1 x 1 -> 4x4 up-convolution (8w), BN, ReLU -> one up-sampling residual block for each factor of two
    (4w, 2w, w) -> 3x3 convolution to the image's channels, tanh. With 32 x 32 images and w = 64 this is the table. The
    widths mirror those of the encoder at every size: images of 16 x 16 take the last blocks of the pyramid (4w at
    4 x 4, then 2w, w); at 64 x 64 and beyond the first blocks repeat 8w.

    References:
        Learning priors for adversarial autoencoders, Table 2 (decoder).
    """

    name = "residual"

    class Config(PartConfig):
        """Settings of the residual decoder."""

        retired: ClassVar[Mapping[str, Any]] = {"pre_sum_relu": True}

        width: int = Field(default=64, gt=0)
        """w, the channels at the side of the image."""
        batch_norm: bool = True
        """Batch normalisation inside the residual blocks; false is the table as printed."""
        conditional: bool = False
        """Whether the decoder sees `known`, beside the code."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the network.

        Args:
            config: this part's settings.
            sizes: every size that it depends on.

        Raises:
            PlanError: the images are not square with a side of 4 * 2^k.
        """
        super().__init__(config, sizes)
        cfg = self.config
        widths = pyramid(cfg.width, doublings("decoder 'residual'", sizes.image, "decoder 'mlp'"))[::-1]
        inputs = sizes.code + (sizes.known if cfg.conditional else 0)
        self.stem = nn.Sequential(CodeToMap(inputs, widths[0]), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True))
        self.blocks = nn.Sequential(*(UpBlock(*pair, batch_norm=cfg.batch_norm) for pair in itertools.pairwise(widths)))
        self.to_image = nn.Sequential(nn.Conv2d(cfg.width, sizes.image[0], 3, padding=1), PixelTanh())

    def forward(self, z: Tensor, known: Tensor) -> Tensor:
        """Images [n, c, h, w] in [-1, 1] from codes z [n, d] and known [n, k]."""
        if self.config.conditional:
            z = with_known(z, known)
        x: Tensor = self.to_image(self.blocks(self.stem(z)))
        return x
