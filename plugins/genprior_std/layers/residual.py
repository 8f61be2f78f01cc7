"""The residual blocks of Table 2, and the widths of the pyramid that they form."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genprior_std.layers.doubled import doubled

__all__ = ["CodeToMap", "DownBlock", "Pointwise", "UpBlock", "pyramid"]


def pyramid(width: int, doublings: int) -> list[int]:
    """The width of each level, from the image to the 4 x 4 map: doubled at each level, and at most 8 * width.

    At 32 x 32 (3 doublings) and width 64: 64, 128, 256, 512, as in Table 2. The decoder has the same widths in the
    opposite order.

    Args:
        width: channels at the side of the image.
        doublings: k for images with a side of 4 * 2^k.

    Returns:
        k + 1 widths.
    """
    return [width * min(2**level, 8) for level in range(doublings + 1)]


class DownBlock(nn.Module):
    """A residual block that keeps the side (stride 1) or halves it (stride 2).

    out = ReLU(skip(x) + main(x)), main = 3x3 convolution (stride), [BN], ReLU, 3x3 convolution, [BN], ReLU. The skip
    is the identity at stride 1 and equal widths, else a 1x1 convolution of the same stride (Table 2 names none).

    References:
        Learning priors for adversarial autoencoders, Table 2, "residual block" and "down-sampling residual block".
    """

    def __init__(self, inputs: int, outputs: int, stride: int, *, batch_norm: bool) -> None:
        """Make the block.

        Args:
            inputs: input channels.
            outputs: output channels.
            stride: 1 or 2.
            batch_norm: normalise after both convolutions (a deviation from the table, which lists none).
        """
        super().__init__()
        first = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=not batch_norm)
        self.main = _main(first, outputs, batch_norm)
        plain = stride == 1 and inputs == outputs
        self.skip = None if plain else Pointwise(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [n, outputs, h / stride, w / stride] from maps x [n, inputs, h, w]."""
        total: Tensor = self.main(x) + (x if self.skip is None else self.skip(x))
        return total.relu_()


class UpBlock(nn.Module):
    """A residual block that doubles the side.

    out = ReLU(up(skip(x)) + main(x)), main = 4x4 transposed convolution (stride 2), [BN], ReLU, 3x3 convolution, [BN],
    ReLU; skip = 1x1 convolution; up = nearest neighbour. A 1x1 convolution acts on each pixel separately, so before the
    up-sampling it gives the same result as after it, at a quarter of the work.

    References:
        Learning priors for adversarial autoencoders, Table 2, "up-sampling residual block".
    """

    def __init__(self, inputs: int, outputs: int, *, batch_norm: bool) -> None:
        """Make the block.

        Args:
            inputs: input channels.
            outputs: output channels.
            batch_norm: normalise after both convolutions (a deviation from the table, which lists none).
        """
        super().__init__()
        first = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=not batch_norm)
        self.main = _main(first, outputs, batch_norm)
        self.skip = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [n, outputs, 2h, 2w] from maps x [n, inputs, h, w]."""
        total: Tensor = self.main(x) + doubled(self.skip(x))
        return total.relu_()


class Pointwise(nn.Conv2d):
    """A 1x1 convolution of stride s: maps [n, outputs, h / s, w / s] from maps [n, inputs, h, w].

    It sees one pixel of s x s. With fewer than eight input channels, these pixels are taken before the convolution, for
    the same result: oneDNN 3.13 (torch 2.15) writes the weight's gradient beyond its end for a stride of 2, channels
    last, on processors with AVX2 and no AVX-512.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        """Make the layer, with a bias."""
        super().__init__(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of x."""
        step = self.stride[0]
        if step == 1 or self.in_channels >= 8:
            return super().forward(x)
        return nn.functional.conv2d(x[:, :, ::step, ::step], self.weight, self.bias)


class CodeToMap(nn.ConvTranspose2d):
    """The first layer of a decoder: a code, as a map of 1 x 1, up-convolved to 4 x 4.

    A transposed convolution of a single pixel is a matrix product, y[n, c, i, j] = sum_d z[n, d] W[d, c, i, j], and is
    computed as one; the parameters are those of the convolution.

    References:
        Learning priors for adversarial autoencoders, Table 2, "4x4 up-conv 512".
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        """Make the layer; batch normalisation follows it in the table, so it has no bias.

        Args:
            inputs: width of the code.
            outputs: output channels.
        """
        super().__init__(inputs, outputs, 4, bias=False)

    def forward(self, z: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Maps [n, outputs, 4, 4] from codes z [n, inputs]; the memory format is that of the weight."""
        weight = self.weight
        if weight.is_contiguous(memory_format=torch.channels_last):
            flat = z @ weight.permute(0, 2, 3, 1).flatten(1)
            return flat.view(-1, 4, 4, self.out_channels).permute(0, 3, 1, 2)
        return (z @ weight.flatten(1)).view(-1, self.out_channels, 4, 4)


def _main(first: nn.Module, width: int, batch_norm: bool) -> nn.Sequential:
    norms = [nn.BatchNorm2d(width) if batch_norm else nn.Identity() for _ in range(2)]
    second = nn.Conv2d(width, width, 3, padding=1, bias=not batch_norm)
    return nn.Sequential(first, norms[0], nn.ReLU(inplace=True), second, norms[1], nn.ReLU(inplace=True))
