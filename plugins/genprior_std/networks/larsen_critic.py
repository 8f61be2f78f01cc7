"""The critic of VAE/GAN."""

from __future__ import annotations

import math

from pydantic import Field
from torch import nn

from genprior import PartConfig, Sizes
from genprior_std.layers.image_sizes import divided
from genprior_std.layers.layered_critic import LayeredCritic
from genprior_std.layers.spectral import normalise_spectrally

__all__ = ["LarsenCritic"]


class LarsenCritic(LayeredCritic):
    """The discriminator of VAE/GAN, on logits.

    5x5 convolution (w/2), ReLU -> 5x5 convolution (2w) at stride 2, BN, ReLU -> 5x5 convolution (3w) at stride 2, BN,
    ReLU -> 5x5 convolution (4w) at stride 2, BN, ReLU -> FC 512, BN, ReLU -> FC 1. With w = 64 it is the published one:
    32, 128, 192, 256 for 32 x 32 images. As published, the third has 4w for 64 x 64 images; for larger ones too. A
    layer that is normalised has no bias, as published.

    The features `conv2` are taken after normalisation and ReLU, `conv2_pre` directly after the convolution; likewise
    `conv3` and `conv4`. Larsen et al. compare images in `conv4_pre` on CelebA and, in their code, in `conv3_pre` on
    CIFAR-10.

    References:
        Larsen et al., Autoencoding beyond pixels using a learned similarity metric, 2016; layers as in its code.
    """

    name = "larsen"

    class Config(PartConfig):
        """Settings of the critic of VAE/GAN."""

        width: int = Field(default=64, gt=0, multiple_of=2)
        """w, twice the channels of the first convolution; the published network has 64."""
        hidden: int = Field(default=512, gt=0)
        """Width of the fully connected layer, which is the trunk that an auxiliary head may share."""
        spectral_norm: bool = False
        """Whether each weight is divided by its largest singular value; batch normalisation would undo it."""
        conditional: bool = False
        """Whether the critic sees `known`, as constant maps beside the image."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the network.

        Args:
            config: this part's settings.
            sizes: every size that it depends on.

        Raises:
            PlanError: a side of the images is not divisible by 8.
        """
        super().__init__(config, sizes)
        cfg, w = self.config, self.config.width
        sides = divided("critic 'larsen'", sizes.image, 8, "critic 'image_mlp'")
        inputs = sizes.image[0] + (sizes.known if cfg.conditional else 0)
        channels = (w // 2, 2 * w, 4 * w if max(sizes.image[1:]) >= 64 else 3 * w, 4 * w)
        self.layers = nn.ModuleDict(
            {"conv1": nn.Sequential(nn.Conv2d(inputs, channels[0], 5, padding=2), nn.ReLU(inplace=True))}
        )
        for i, (before, after) in enumerate(zip(channels, channels[1:], strict=False), start=2):
            self.layers[f"conv{i}_pre"] = nn.Conv2d(before, after, 5, 2, padding=2, bias=False)
            self.layers[f"conv{i}"] = nn.Sequential(nn.BatchNorm2d(after), nn.ReLU(inplace=True))
        self.to_trunk = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels[-1] * math.prod(sides), cfg.hidden, bias=False),
            nn.BatchNorm1d(cfg.hidden),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Linear(cfg.hidden, 1)
        if cfg.spectral_norm:
            normalise_spectrally(self)
