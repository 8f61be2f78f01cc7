"""The residual generator of WGAN-GP."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from genprior import PartConfig, Sizes
from genprior_std.layers.conditional_decoder import ConditionalDecoder
from genprior_std.layers.conditions import with_known
from genprior_std.layers.image_sizes import doublings
from genprior_std.layers.initialisation import initialise_glorot
from genprior_std.layers.pixels import PixelTanh
from genprior_std.layers.wgan_resnet import GeneratorBlock

__all__ = ["WganResnetDecoder"]


class WganResnetDecoder(ConditionalDecoder):
    """The residual generator that WGAN-GP uses for CIFAR-10.

    FC w maps of 4 x 4 -> one residual block (w) that doubles the side for each factor of two -> BN, ReLU, 3x3
    convolution to the image's channels, tanh in at least single precision. With w = 128 and 32 x 32 images it is the
    published one without labels. A layer whose output only goes into batch normalisation has no bias.

    References:
        Gulrajani et al., Improved training of Wasserstein GANs, 2017, appendix F, table 4; details as in its code
        (`gan_cifar_resnet.py`).
    """

    name = "wgan_resnet"

    class Config(PartConfig):
        """Settings of the residual generator."""

        width: int = Field(default=128, gt=0)
        """w, the channels of every map; the published network has 128."""
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
        w = self.config.width
        k = doublings("decoder 'wgan_resnet'", sizes.image, "decoder 'mlp'")
        inputs = sizes.code + (sizes.known if self.config.conditional else 0)
        self.stem = nn.Sequential(nn.Linear(inputs, 16 * w), nn.Unflatten(1, (w, 4, 4)))
        self.blocks = nn.Sequential(*(GeneratorBlock(w, w) for _ in range(k)))
        self.norm = nn.Sequential(nn.BatchNorm2d(w), nn.ReLU(inplace=True))
        self.to_image = nn.Sequential(nn.Conv2d(w, sizes.image[0], 3, padding=1), PixelTanh())
        initialise_glorot(self.stem)
        initialise_glorot(self.to_image)

    def forward(self, z: Tensor, known: Tensor) -> Tensor:
        """Images [n, c, h, w] in [-1, 1] from codes z [n, d] and known [n, k]."""
        if self.config.conditional:
            z = with_known(z, known)
        x: Tensor = self.to_image(self.norm(self.blocks(self.stem(z))))
        return x
