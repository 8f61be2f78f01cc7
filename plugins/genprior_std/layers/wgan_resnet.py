"""The residual blocks that WGAN-GP uses for CIFAR-10: pre-activation, mean pooling, nearest-neighbour up-sampling."""

from __future__ import annotations

from torch import Tensor, nn

from genprior_std.layers.doubled import Doubled, doubled
from genprior_std.layers.initialisation import initialise_glorot, initialise_he

__all__ = ["CriticBlock", "FirstCriticBlock", "GeneratorBlock"]


class GeneratorBlock(nn.Module):
    """A residual block that doubles the side.

    out = skip(up(x)) + conv(ReLU(BN(conv(up(ReLU(BN(x))))))), 3x3 convolutions, up = nearest neighbour, skip = 1x1
    convolution. A 1x1 convolution acts on each pixel separately, so before the up-sampling it gives the same result as
    after it, at a quarter of the work.

    References:
        Gulrajani et al., Improved training of Wasserstein GANs, 2017, appendix F; order as in its code
        (`gan_cifar_resnet.py`).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        """Make the block.

        Args:
            inputs: input channels.
            outputs: output channels.
        """
        super().__init__()
        self.main = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(inplace=True),
            Doubled(),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1),
        )
        self.skip = nn.Conv2d(inputs, outputs, 1)
        _initialise(self.main, self.skip)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [n, outputs, 2h, 2w] from maps x [n, inputs, h, w]."""
        total: Tensor = self.main(x) + doubled(self.skip(x))
        return total


class CriticBlock(nn.Module):
    """A residual block that keeps the side or halves it.

    out = skip(down(x)) + down(conv(ReLU(conv(ReLU(x))))), 3x3 convolutions, down = the mean of 2 x 2 pixels or nothing,
    skip = 1x1 convolution, or the identity where the side is kept. The published code takes the mean after the 1x1
    convolution; both are linear, so the result is the same.

    References:
        Gulrajani et al., Improved training of Wasserstein GANs, 2017, appendix F; order as in its code
        (`gan_cifar_resnet.py`).
    """

    def __init__(self, width: int, *, down: bool) -> None:
        """Make the block.

        Args:
            width: input and output channels.
            down: halve the side.
        """
        super().__init__()
        self.main = nn.Sequential(
            nn.ReLU(),  # not in place: the skip connection needs x as it is
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
            *([nn.AvgPool2d(2)] if down else []),
        )
        self.skip: nn.Module = nn.Identity()
        if down:
            self.skip = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(width, width, 1))
        _initialise(self.main, self.skip)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [n, width, h, w], or [n, width, h / 2, w / 2], from maps x [n, width, h, w]."""
        total: Tensor = self.main(x) + self.skip(x)
        return total


class FirstCriticBlock(nn.Module):
    """The first block: a `CriticBlock` that halves, without the first ReLU, which would clip the image.

    out = skip(down(x)) + down(conv(ReLU(conv(x)))).

    References:
        Gulrajani et al., Improved training of Wasserstein GANs, 2017; as in its code (`gan_cifar_resnet.py`).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        """Make the block.

        Args:
            inputs: channels of the image and of the condition.
            outputs: output channels.
        """
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.AvgPool2d(2),
        )
        self.skip = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(inputs, outputs, 1))
        _initialise(self.main, self.skip)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [n, outputs, h / 2, w / 2] from images x [n, inputs, h, w]."""
        total: Tensor = self.main(x) + self.skip(x)
        return total


def _initialise(main: nn.Module, skip: nn.Module) -> None:
    initialise_he(main)
    initialise_glorot(skip)
