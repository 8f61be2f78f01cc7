"""The discriminator of DCGAN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import nn

from genprior import PartConfig, Sizes
from genprior_std.layers.fully_connected import LEAK
from genprior_std.layers.image_sizes import doublings
from genprior_std.layers.initialisation import initialise_he, initialise_normal
from genprior_std.layers.layered_critic import LayeredCritic
from genprior_std.layers.residual import pyramid
from genprior_std.layers.spectral import normalise_spectrally

__all__ = ["DcganCritic"]

KERNEL = 5
"""Kernel size, as in the code of DCGAN."""


class DcganCritic(LayeredCritic):
    """The discriminator of DCGAN, on logits: convolutions of stride 2 from the image to 4 x 4, and one linear layer.

    One convolution for each factor of two, with BN after all but the first and LReLU (0.2) after all -> FC 1 on the
    flattened 4 x 4 map, which is the trunk. The number of maps starts at w and doubles at each smaller resolution, up
    to 8w: with w = 128 they are 128, 256, 512, 1024 for 64 x 64, as published. The features `conv1`, `conv2` ... are
    those after the activation. A layer that is normalised has no bias.

    With w = 128, `batch_norm = false` and `init = "he"` the network for 32 x 32 is the convolutional
    critic that WGAN-GP uses for CIFAR-10. Images of 4 x 4 take one 3x3 convolution of stride 1.

    References:
        Radford, Metz and Chintala, Unsupervised representation learning with deep convolutional generative adversarial
        networks, 2015, section 3; kernels of 5 as in its code.
        Gulrajani et al., Improved training of Wasserstein GANs, 2017, and its code (`gan_cifar.py`).
        Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018 (`spectral_norm`).
    """

    name = "dcgan"

    class Config(PartConfig):
        """Settings of the discriminator of DCGAN."""

        retired: ClassVar[Mapping[str, Any]] = {"kernel": 5}

        width: int = Field(default=128, gt=0)
        """w, the maps of the first convolution; the published networks have 128."""
        init: Literal["normal", "he"] = "normal"
        """Initial weights: N(0, 0.02) as in DCGAN, or He's uniform weights as in WGAN-GP."""
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
        k = doublings("critic 'dcgan'", sizes.image, "critic 'image_mlp'")
        # Padding such that the side is halved, or kept where there is nothing to halve.
        kernel, stride = (KERNEL, 2) if k else (3, 1)
        inputs = sizes.image[0] + (sizes.known if cfg.conditional else 0)
        self.layers = nn.ModuleDict()
        for i, outputs in enumerate(pyramid(cfg.width, max(k - 1, 0))):
            normalised = cfg.batch_norm and i > 0
            self.layers[f"conv{i + 1}"] = nn.Sequential(
                nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=not normalised),
                *([nn.BatchNorm2d(outputs)] if normalised else []),
                nn.LeakyReLU(LEAK, inplace=True),
            )
            inputs = outputs
        self.to_trunk = nn.Flatten()
        self.head = nn.Linear(inputs * 16, 1)
        if cfg.init == "he":
            initialise_he(self)
        else:
            initialise_normal(self)
        if cfg.spectral_norm:
            normalise_spectrally(self)
