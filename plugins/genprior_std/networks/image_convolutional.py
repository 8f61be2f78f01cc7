"""The paper's critic of images: strided convolutions and one fully connected layer."""

from __future__ import annotations

from collections import OrderedDict

from pydantic import Field
from torch import nn

from genprior import PartConfig, Sizes
from genprior_std.layers.fully_connected import LEAK
from genprior_std.layers.image_sizes import doublings
from genprior_std.layers.layered_critic import LayeredCritic
from genprior_std.layers.spectral import normalise_spectrally

__all__ = ["ConvolutionalImageCritic"]


class ConvolutionalImageCritic(LayeredCritic):
    """The image discriminator of Table 4, on logits.

    4x4 convolution (w) at stride 2, LReLU -> 4x4 convolution (2w) at stride 2, BN, LReLU -> 4x4 convolution (4w) at
    stride 2, BN, LReLU -> FC 1000, LReLU -> FC 1. With 32 x 32 images and w = 64 this is the table, and F(x) is the 4 x
    4 map `conv3` after its activation. There are always at least three convolutions, and the last map is always 4 x 4:
    for 16 x 16 images the first convolution, and for 8 x 8 images the first two, are 3x3 at stride 1 instead; for 64 x
    64 a fourth with 8w maps follows, and any further one has 8w as well. Every layer has a bias, which matches the
    paper's parameter count.

    References:
        Learning priors for adversarial autoencoders, Table 4 (image discriminator).
    """

    name = "image_convolutional"

    class Config(PartConfig):
        """Settings of the convolutional image critic."""

        width: int = Field(default=64, gt=0)
        """w, the channels of the first convolution."""
        hidden: int = Field(default=1000, gt=0)
        """Width of the fully connected layer, which is the trunk that an auxiliary head may share."""
        batch_norm: bool = True
        """Batch normalisation after every convolution but the first; switch it off for a gradient penalty."""
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
            PlanError: the images are not square with a side of 4 * 2^k.
        """
        super().__init__(config, sizes)
        cfg = self.config
        halvings = doublings("critic 'image_convolutional'", sizes.image, "critic 'image_mlp'")
        count = max(3, halvings)
        inputs = sizes.image[0] + (sizes.known if cfg.conditional else 0)
        self.convolutions = nn.ModuleDict()
        for i in range(count):
            outputs = cfg.width * min(2**i, 8)
            shape = (4, 2) if i >= count - halvings else (3, 1)
            norm = [nn.BatchNorm2d(outputs)] if cfg.batch_norm and i > 0 else []
            self.convolutions[f"conv{i + 1}"] = nn.Sequential(
                nn.Conv2d(inputs, outputs, *shape, padding=1), *norm, nn.LeakyReLU(LEAK, inplace=True)
            )
            inputs = outputs
        # The names 0 and 1 match older checkpoints, written before the map was flattened here.
        to_trunk = {
            "flat": nn.Flatten(),
            "0": nn.Linear(inputs * 16, cfg.hidden),
            "1": nn.LeakyReLU(LEAK, inplace=True),
        }
        self.to_trunk = nn.Sequential(OrderedDict(to_trunk))
        self.head = nn.Linear(cfg.hidden, 1)
        if cfg.spectral_norm:
            normalise_spectrally(self)

    @property
    def layers(self) -> nn.ModuleDict:  # type: ignore[override]
        """The convolutions, `conv1`, `conv2`, `conv3`, and so on for images larger than 32 x 32."""
        return self.convolutions
