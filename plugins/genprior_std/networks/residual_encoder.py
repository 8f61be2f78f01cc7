"""The paper's encoder: a pyramid of residual blocks."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from genprior import PartConfig, Posterior, Sizes
from genprior_std.layers.conditions import with_known_maps
from genprior_std.layers.image_sizes import doublings
from genprior_std.layers.posterior import PosteriorEncoder, PosteriorForm, posterior_from, posterior_layer
from genprior_std.layers.residual import DownBlock, pyramid

__all__ = ["ResidualEncoder"]


class ResidualEncoder(PosteriorEncoder):
    """The encoder of Table 2: residual blocks down to 4 x 4, an average pool and two fully connected layers.

    3x3 convolution (w), ReLU -> residual block (w) -> one down-sampling residual block for each factor of two down to 4
    x 4 (2w, 4w, 8w, and 8w from there on) -> 4x4 average pool -> FC 2d, BN, ReLU -> FC d, linear. With 32 x 32 images
    and w = 64 this is the table. As printed, the first convolution has stride 2, and the 4x4 pool would get a 2 x 2
    map; `stem_stride = 1` corrects that, and `stem_stride = 2` follows the print and pools over the 2 x 2 map.

    References:
        Learning priors for adversarial autoencoders, Table 2 (encoder).
    """

    name = "residual"

    class Config(PartConfig):
        """Settings of the residual encoder."""

        retired: ClassVar[Mapping[str, Any]] = {"pre_sum_relu": True}

        width: int = Field(default=64, gt=0)
        """w, the channels of the first convolution."""
        stem_stride: Literal[1, 2] = 1
        """Stride of the first convolution: 1 corrects the table, 2 is the table as printed, with a global pool."""
        batch_norm: bool = True
        """Batch normalisation inside the residual blocks; false is the table as printed."""
        conditional: bool = False
        """Whether the encoder sees `known`, as constant maps beside the image."""
        posterior: PosteriorForm = "point"
        """A point, a Gaussian with a diagonal covariance, a softmax (a soft category), or von Mises-Fisher (sphere)."""

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
        widths = pyramid(cfg.width, doublings("encoder 'residual'", sizes.image, "encoder 'mlp'"))
        inputs = sizes.image[0] + (sizes.known if cfg.conditional else 0)
        self.stem = nn.Sequential(nn.Conv2d(inputs, cfg.width, 3, cfg.stem_stride, padding=1), nn.ReLU(inplace=True))
        self.blocks = nn.Sequential(
            DownBlock(cfg.width, cfg.width, 1, batch_norm=cfg.batch_norm),
            *(DownBlock(*pair, 2, batch_norm=cfg.batch_norm) for pair in itertools.pairwise(widths)),
        )
        self.pool = nn.AvgPool2d(4 // cfg.stem_stride, stride=1)
        self.to_code = nn.Sequential(
            nn.Linear(widths[-1], 2 * sizes.code, bias=False),
            nn.BatchNorm1d(2 * sizes.code),
            nn.ReLU(inplace=True),
            posterior_layer(cfg.posterior, 2 * sizes.code, sizes.code),
        )

    def forward(self, x: Tensor, known: Tensor) -> Posterior:
        """q(z | x, known) for images x [n, c, h, w] in [-1, 1] and known [n, k]."""
        if self.config.conditional:
            x = with_known_maps(x, known)
        pooled = self.pool(self.blocks(self.stem(x))).flatten(1)
        return posterior_from(self.config.posterior, self.to_code(pooled))
