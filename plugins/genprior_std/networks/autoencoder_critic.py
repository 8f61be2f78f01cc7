"""The discriminator of BEGAN: an autoencoder whose reconstruction error is the score."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from genprior import PartConfig, Sizes
from genprior_std.layers.began import levels, pair, upsampling
from genprior_std.layers.initialisation import initialise_glorot
from genprior_std.layers.layered_critic import LayeredCritic

__all__ = ["AutoencoderCritic"]


class AutoencoderCritic(LayeredCritic):
    """An autoencoder whose score is minus its reconstruction error: near 0 for images that it reconstructs well.

        score = -L(x),  L(x) = 1/(c h w) |x - AE(x)|_1

    The encoder: 3x3 convolution (w), ELU -> at the i-th resolution, from the image down to 8 x 8, two 3x3 convolutions
    (i w) with ELU, and a 3x3 convolution of stride 2 between resolutions -> FC to the code h, without an activation.
    The decoder is that of decoder `began`, without its tanh. With w = 128 and h = 64 it is the published network
    without its optional skip connections. The features `level1` ... are those after the last ELU of a resolution; the
    trunk is h. The condition enters the encoder. Weights have Glorot's initialisation.

    References:
        Berthelot, Schumm and Metz, BEGAN: Boundary Equilibrium Generative Adversarial Networks, 2017, sections 3.1
        (L with eta = 1) and 3.4, and figure 1.
    """

    name = "autoencoder"

    class Config(PartConfig):
        """Settings of the autoencoder."""

        width: int = Field(default=128, gt=0)
        """w, the filters of the convolutions at the side of the image; the published network has 128."""
        hidden: int = Field(default=64, gt=0)
        """h, the width of the code, which is the trunk that an auxiliary head may share."""
        conditional: bool = False
        """Whether the encoder sees `known`, as constant maps beside the image."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the network.

        Args:
            config: this part's settings.
            sizes: every size that it depends on.

        Raises:
            PlanError: the images are not square with a side of 4 * 2^k.
        """
        super().__init__(config, sizes)
        cfg, w = self.config, self.config.width
        count, side = levels("critic 'autoencoder'", sizes.image, "critic 'image_mlp'")
        channels = sizes.image[0]
        inputs = channels + (sizes.known if cfg.conditional else 0)
        first: list[nn.Module] = [nn.Conv2d(inputs, w, 3, padding=1), nn.ELU(inplace=True)]
        self.layers = nn.ModuleDict({"level1": nn.Sequential(*first, *pair(w, w))})
        for i in range(2, count + 1):
            before, after = (i - 1) * w, i * w
            halve = nn.Conv2d(before, before, 3, 2, padding=1)
            self.layers[f"level{i}"] = nn.Sequential(halve, *pair(before, after))
        self.to_trunk = nn.Sequential(nn.Flatten(), nn.Linear(count * w * side**2, cfg.hidden))
        self.head = upsampling(cfg.hidden, w, channels, count, side)
        initialise_glorot(self)

    @property
    def trunk_width(self) -> int:
        """h, the width of the code."""
        return int(self.config.hidden)

    def reconstruct(self, x: Tensor, known: Tensor) -> Tensor:
        """AE(x): reconstructions [n, c, h, w], without bounds, of images x [n, c, h, w] with known [n, k]."""
        x_rec: Tensor = self.head(self.trunk(x, known))
        return x_rec

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Scores [n] <= 0, -L(x), of images x [n, c, h, w] in [-1, 1] with known [n, k]."""
        return -(x - self.reconstruct(x, known)).abs().flatten(1).mean(1)
