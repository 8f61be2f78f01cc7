"""The residual critic of WGAN-GP."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from genprior import PartConfig, Sizes
from genprior_std.layers.image_sizes import doublings
from genprior_std.layers.initialisation import initialise_glorot
from genprior_std.layers.layered_critic import LayeredCritic
from genprior_std.layers.spectral import normalise_spectrally
from genprior_std.layers.wgan_resnet import CriticBlock, FirstCriticBlock

__all__ = ["WganResnetCritic"]

SAME_SIDE_BLOCKS = 2
"""Number of blocks that keep the side, after those that halve it."""


class WganResnetCritic(LayeredCritic):
    """The residual critic that WGAN-GP uses for CIFAR-10, without any batch normalisation.

    Residual blocks (w) that halve the side down to 8 x 8, at least one -> two residual blocks (w) that keep it -> ReLU,
    mean over the pixels -> FC 1. With w = 128 and 32 x 32 images it is the published one: two blocks that halve and two
    that keep. The features `block1` ... are the outputs of the blocks, before the activation of the next block; the
    trunk is the mean after the last ReLU.

    References:
        Gulrajani et al., Improved training of Wasserstein GANs, 2017, appendix F, table 4; details as in its code
        (`gan_cifar_resnet.py`).
        Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018 (`spectral_norm`; the same
        critic, table 4 there).
    """

    name = "wgan_resnet"

    class Config(PartConfig):
        """Settings of the residual critic."""

        width: int = Field(default=128, gt=0)
        """w, the channels of every map; the published network has 128."""
        spectral_norm: bool = False
        """Whether each weight is divided by its largest singular value, in place of a gradient penalty."""
        conditional: bool = False
        """Whether the critic sees `known`, as constant maps beside the image."""

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
        halved = max(doublings("critic 'wgan_resnet'", sizes.image, "critic 'image_mlp'") - 1, 1)
        inputs = sizes.image[0] + (sizes.known if cfg.conditional else 0)
        self.layers = nn.ModuleDict({"block1": FirstCriticBlock(inputs, w)})
        for i in range(1, halved + SAME_SIDE_BLOCKS):
            self.layers[f"block{i + 1}"] = CriticBlock(w, down=i < halved)
        self.to_trunk = _ActiveMean()
        self.head = nn.Linear(w, 1)
        initialise_glorot(self.head)
        if cfg.spectral_norm:
            normalise_spectrally(self)


class _ActiveMean(nn.Module):
    """The mean over the pixels after a ReLU: [n, c] from maps [n, c, h, w]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.relu().mean((2, 3))
