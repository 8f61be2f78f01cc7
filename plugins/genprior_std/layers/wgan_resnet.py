"""The residual blocks that WGAN-GP has for CIFAR-10: activations first, means for halving, copies for doubling."""

from __future__ import annotations

from torch import Tensor, nn

from genprior_std.layers.initialisation import start_glorot, start_he

__all__ = ["CriticBlock", "FirstCriticBlock", "GeneratorBlock"]


class GeneratorBlock(nn.Module):
    """A residual block that doubles the side.

    out = skip(up(x)) + conv(ReLU(BN(conv(up(ReLU(BN(x))))))), 3x3 convolutions, up = nearest neighbour, skip = 1x1
    convolution. A 1x1 convolution sees each pixel alone, so it gives the same before the up-sampling as behind it, at a
    quarter of the work.

    References:
        Gulrajani et al., Improved training of Wasserstein GANs, 2017, appendix F; order as in its code
        (`gan_cifar_resnet.py`).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        """Make the block.

        Args:
            inputs: channels that come in.
            outputs: channels that go out.
        """
        super().__init__()
        self.main = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(inplace=True),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1),
        )
        self.skip = nn.Conv2d(inputs, outputs, 1)
        _start(self.main, self.skip)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [n, outputs, 2h, 2w] from maps x [n, inputs, h, w]."""
        up: Tensor = nn.functional.interpolate(self.skip(x), scale_factor=2.0, mode="nearest")
        total: Tensor = self.main(x) + up
        return total


class CriticBlock(nn.Module):
    """A residual block that keeps the side or halves it.

    out = skip(down(x)) + down(conv(ReLU(conv(ReLU(x))))), 3x3 convolutions, down = the mean of 2 x 2 pixels or nothing,
    skip = 1x1 convolution, or the identity where the side is kept. Published is the mean behind the 1x1 convolution;
    both are linear, so this is the same.

    References:
        Gulrajani et al., Improved training of Wasserstein GANs, 2017, appendix F; order as in its code
        (`gan_cifar_resnet.py`).
    """

    def __init__(self, width: int, *, down: bool) -> None:
        """Make the block.

        Args:
            width: channels that come in and go out.
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
        _start(self.main, self.skip)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [n, width, h, w], or [n, width, h / 2, w / 2], from maps x [n, width, h, w]."""
        total: Tensor = self.main(x) + self.skip(x)
        return total


class FirstCriticBlock(nn.Module):
    """The block that sees the image: as `CriticBlock` with halving, without the ReLU in front, which would blind it.

    out = skip(down(x)) + down(conv(ReLU(conv(x)))).

    References:
        Gulrajani et al., Improved training of Wasserstein GANs, 2017; as in its code (`gan_cifar_resnet.py`).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        """Make the block.

        Args:
            inputs: channels of the image, and of what is told about it.
            outputs: channels that go out.
        """
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.AvgPool2d(2),
        )
        self.skip = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(inputs, outputs, 1))
        _start(self.main, self.skip)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [n, outputs, h / 2, w / 2] from images x [n, inputs, h, w]."""
        total: Tensor = self.main(x) + self.skip(x)
        return total


def _start(main: nn.Module, skip: nn.Module) -> None:
    start_he(main)
    start_glorot(skip)
