"""The convolutional encoder of the VampPrior's paper: gated convolutions."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor, nn

from genprior import PartConfig, Posterior, Sizes
from genprior_std.layers.gated import GatedConvolution, GatedDense, PosteriorHead
from genprior_std.layers.image_sizes import divided
from genprior_std.layers.posterior import PosteriorEncoder, PosteriorForm

__all__ = ["GatedConvolutionalEncoder"]

LAYERS = ((7, 1), (3, 2), (5, 1), (3, 2), (3, 1))
"""Kernel and stride of each convolution."""


class GatedConvolutionalEncoder(PosteriorEncoder):
    """Gated convolutions down to a quarter of the sides, then a Gaussian over codes.

    7x7 convolution (32) -> 3x3 (32) at stride 2 -> 5x5 (64) -> 3x3 (64) at stride 2 -> 3x3 (6), all gated; the
    flattened maps are h, 294 numbers for 28 x 28 images. Without a condition mean and log variance are linear in h, the
    latter in [-6, 2]: q(z2 | x) of the hierarchical VAE. With one, `known` goes through a gated layer as wide as h, and
    both together through a gated layer of 300 before mean and log variance; with `small_kernels` this is q(z1 | x, z2)
    where `known` is z2.

    References:
        Tomczak and Welling, VAE with a VampPrior, 2017, the convolutional hierarchical VAE; layers as in its code.
    """

    name = "gated_convolutional"

    class Config(PartConfig):
        """Settings of the gated convolutional encoder."""

        width: int = Field(default=32, gt=0)
        """Channels of the first two convolutions; the next two have twice as many."""
        maps: int = Field(default=6, gt=0)
        """Channels of the last convolution."""
        hidden: int = Field(default=300, gt=0)
        """Width of the gated layer that joins image and condition; unused without a condition."""
        small_kernels: bool = False
        """Whether all kernels are 3x3, as in the published q(z1 | x, z2)."""
        conditional: bool = False
        """Whether the encoder sees `known`, joined to the last maps."""
        posterior: PosteriorForm = "gaussian"
        """A point, a Gaussian with a diagonal covariance, a softmax (a soft category), or von Mises-Fisher (sphere)."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the network.

        Args:
            config: this part's settings.
            sizes: every size that it depends on.

        Raises:
            PlanError: a side of the images is not divisible by 4.
        """
        super().__init__(config, sizes)
        cfg = self.config
        sides = divided("encoder 'gated_convolutional'", sizes.image, 4, "encoder 'gated_mlp'")
        channels = (sizes.image[0], cfg.width, cfg.width, 2 * cfg.width, 2 * cfg.width, cfg.maps)
        self.convolutions = nn.Sequential(
            *(
                GatedConvolution(inputs, outputs, 3 if cfg.small_kernels else kernel, stride)
                for inputs, outputs, (kernel, stride) in zip(channels, channels[1:], LAYERS, strict=False)
            )
        )
        width = cfg.maps * math.prod(sides)
        known = sizes.known if cfg.conditional else 0
        self.from_known = GatedDense(known, width) if known else None
        self.joint = GatedDense(2 * width, cfg.hidden) if known else None
        self.to_code = PosteriorHead(cfg.hidden if known else width, sizes.code, cfg.posterior)

    def forward(self, x: Tensor, known: Tensor) -> Posterior:
        """q(z | x, known) for images x [n, c, h, w] in [-1, 1] and known [n, k]."""
        h: Tensor = self.convolutions(x).flatten(1)
        if self.from_known is not None and self.joint is not None:
            h = self.joint(torch.cat([h, self.from_known(known)], dim=1))
        posterior: Posterior = self.to_code(h)
        return posterior
