"""The generator of DCGAN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from genprior import PartConfig, Sizes
from genprior_std.layers.conditional_decoder import ConditionalDecoder
from genprior_std.layers.conditions import with_known
from genprior_std.layers.image_sizes import doublings
from genprior_std.layers.initialisation import initialise_he, initialise_normal
from genprior_std.layers.pixels import PixelTanh
from genprior_std.layers.residual import pyramid

__all__ = ["DcganDecoder"]

KERNEL = 5
"""Kernel size, as in the code of DCGAN."""


class DcganDecoder(ConditionalDecoder):
    """The generator of DCGAN: from a code to 4 x 4, and by up-convolutions of stride 2 to the image.

    FC to 4 x 4 maps, BN, ReLU -> one up-convolution for each factor of two, with BN and ReLU after all but the last ->
    tanh in at least single precision. The number of maps is w before the last up-convolution and doubles at each
    smaller resolution, up to 8w: with w = 128 they are 1024, 512, 256, 128 for 64 x 64, as published. The first batch
    normalisation keeps statistics per unit, and a layer that is normalised has no bias.

    With w = 128 and `init = "he"` the network for 32 x 32 (512, 256, 128 maps) is the convolutional generator that
    WGAN-GP uses for CIFAR-10, except for biases before batch normalisation, which have no effect. Images of 4 x 4 take
    one 3x3 convolution of stride 1 in place of the up-convolutions.

    References:
        Radford, Metz and Chintala, Unsupervised representation learning with deep convolutional generative adversarial
        networks, 2015, section 3 and figure 1; kernels of 5 as in its code.
        Gulrajani et al., Improved training of Wasserstein GANs, 2017, and its code (`gan_cifar.py`).
    """

    name = "dcgan"

    class Config(PartConfig):
        """Settings of the generator of DCGAN."""

        retired: ClassVar[Mapping[str, Any]] = {"kernel": 5}

        width: int = Field(default=128, gt=0)
        """w, the maps before the last up-convolution; the published networks have 128."""
        init: Literal["normal", "he"] = "normal"
        """Initial weights: N(0, 0.02) as in DCGAN, or He's uniform weights as in WGAN-GP."""
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
        k = doublings("decoder 'dcgan'", sizes.image, "decoder 'mlp'")
        widths = pyramid(cfg.width, max(k - 1, 0))[::-1]
        # Padding such that the side is doubled, or kept where there is nothing to double.
        kernel, stride = (KERNEL, 2) if k else (3, 1)
        shape = (kernel, stride, (kernel - 1) // 2, 1 if k else 0)
        inputs = sizes.code + (sizes.known if cfg.conditional else 0)
        units = widths[0] * 16
        self.stem = nn.Sequential(
            nn.Linear(inputs, units, bias=False),
            nn.BatchNorm1d(units),
            nn.ReLU(inplace=True),
            nn.Unflatten(1, (widths[0], 4, 4)),
        )
        self.convolutions = nn.Sequential(
            *(
                nn.Sequential(
                    nn.ConvTranspose2d(before, after, *shape, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
                )
                for before, after in zip(widths, widths[1:], strict=False)
            )
        )
        self.to_image = nn.Sequential(nn.ConvTranspose2d(widths[-1], sizes.image[0], *shape), PixelTanh())
        if cfg.init == "he":
            initialise_he(self)
        else:
            initialise_normal(self)

    def forward(self, z: Tensor, known: Tensor) -> Tensor:
        """Images [n, c, h, w] in [-1, 1] from codes z [n, d] and known [n, k]."""
        if self.config.conditional:
            z = with_known(z, known)
        x: Tensor = self.to_image(self.convolutions(self.stem(z)))
        return x
