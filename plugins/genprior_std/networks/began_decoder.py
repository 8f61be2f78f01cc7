"""The generator of BEGAN."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from genprior import PartConfig, Sizes
from genprior_std.layers.began import levels, upsampling
from genprior_std.layers.conditional_decoder import ConditionalDecoder
from genprior_std.layers.conditions import with_known
from genprior_std.layers.initialisation import initialise_glorot
from genprior_std.layers.pixels import PixelTanh

__all__ = ["BeganDecoder"]


class BeganDecoder(ConditionalDecoder):
    """The generator of BEGAN, which is the decoder of its discriminator, with weights of its own.

    FC w maps of 8 x 8 -> two 3x3 convolutions (w) with ELU at each resolution from 8 x 8 to the image, with
    nearest-neighbour up-sampling in between -> 3x3 convolution to the image's channels, tanh in at least single
    precision. With w = 128 it is the published network except for the tanh: the published one leaves pixels unbounded
    and clips them for display. It has neither batch normalisation nor the paper's optional skip connections. Weights
    have Glorot's initialisation.

    References:
        Berthelot, Schumm and Metz, BEGAN: Boundary Equilibrium Generative Adversarial Networks, 2017, section 3.4 and
        figure 1.
    """

    name = "began"

    class Config(PartConfig):
        """Settings of the generator of BEGAN."""

        width: int = Field(default=128, gt=0)
        """w, the filters of every convolution; the published network has 128."""
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
        count, side = levels("decoder 'began'", sizes.image, "decoder 'mlp'")
        inputs = sizes.code + (sizes.known if self.config.conditional else 0)
        *body, last = upsampling(inputs, self.config.width, sizes.image[0], count, side)
        self.layers = nn.Sequential(*body)
        self.to_image = nn.Sequential(last, PixelTanh())
        initialise_glorot(self)

    def forward(self, z: Tensor, known: Tensor) -> Tensor:
        """Images [n, c, h, w] in [-1, 1] from codes z [n, d] and known [n, k]."""
        if self.config.conditional:
            z = with_known(z, known)
        x: Tensor = self.to_image(self.layers(z))
        return x
