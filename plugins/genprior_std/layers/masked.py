"""Masked convolutions, which see only earlier pixels, and the gated layer of PixelCNN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from genprior import StackedWeights
from genprior_std.layers.stacked import StackedConvolution

__all__ = ["AboveConvolution", "GatedLayer", "LeftConvolution", "colours_of", "gate"]


def colours_of(maps: int, colours: int) -> Tensor:
    """The colour that each of `maps` feature maps belongs to: int64 [maps], from 0 to colours - 1, in equal runs.

    Args:
        maps: a multiple of `colours`.
        colours: c.
    """
    return torch.arange(maps) * colours // maps


def gate(u: Tensor) -> Tensor:
    """tanh(f) sigmoid(g) [n, m, h, w] of u [n, 2 m, h, w], which is f above g.

    References:
        van den Oord et al., Conditional image generation with PixelCNN decoders, 2016, equation 2.
    """
    f, g = u.chunk(2, dim=1)
    return f.tanh() * g.sigmoid()


class AboveConvolution(nn.Conv2d, StackedWeights):
    """A convolution of the vertical stack, for `gate`: an output sees rows above its own, at columns on both sides.

    With r = kernel // 2 the kernel has `kernel` columns, -r .. r, and r rows, -r .. -1, for an image as input, or r + 1
    rows, -r .. 0, for input maps that do not depend on their own row of the image. The kernel is cut to these rows, so
    nothing is multiplied by zeros.

    References:
        van den Oord et al., Conditional image generation with PixelCNN decoders, 2016, section 2.2 and figure 1.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, own_row: bool) -> None:
        """Make the layer.

        Args:
            inputs: input maps.
            outputs: output maps, an even number: those of f, then those of g.
            kernel: kernel size before masking, odd.
            own_row: whether an output sees its own row.
        """
        reach = kernel // 2
        super().__init__(inputs, outputs, (reach + own_row, kernel))
        self.reach = reach
        """r, rows above and columns to each side that an output sees."""
        # A negative pad removes the last row, which no output sees.
        self._pad = (reach, reach, reach, 0 if own_row else -1)

    @property
    def stacked(self) -> Mapping[str, Sequence[int]]:
        """The maps of f and of g."""
        halves = (self.out_channels // 2,) * 2
        return {"weight": halves, "bias": halves}

    def forward(self, x: Tensor) -> Tensor:
        """Maps [n, outputs, h, w] from maps x [n, inputs, h, w]."""
        return functional.conv2d(functional.pad(x, self._pad), self.weight, self.bias)


class LeftConvolution(nn.Conv2d, StackedWeights):
    """A convolution of the horizontal stack: an output sees pixels to its left and its own earlier colours.

    All maps of the `reach` pixels to the left are seen. Of the pixel itself, a map of colour a sees the maps of colours
    below a (mask A, `own_colour` false), or of colours up to a (mask B). The kernel has 1 row and reach + 1 columns,
    or only the reach columns to the left where mask A would leave nothing of the pixel, in images of one colour.

    References:
        van den Oord, Kalchbrenner and Kavukcuoglu, Pixel recurrent neural networks, 2016, section 3.4 and figure 2.
        van den Oord et al., Conditional image generation with PixelCNN decoders, 2016, section 2.2 and figure 1.
    """

    mask: Tensor | None

    def __init__(
        self, inputs: int, outputs: int, reach: int, colours: int, *, own_colour: bool, gated: bool = False
    ) -> None:
        """Make the layer.

        Args:
            inputs: input maps, the same number for each colour.
            outputs: output maps; doubled if `gated`.
            reach: columns to the left that an output sees.
            colours: c.
            own_colour: whether a map sees maps of its own colour at the same pixel: mask B, else mask A.
            gated: whether the output is for `gate`: the maps of f, then those of g.
        """
        own_pixel = own_colour or colours > 1
        super().__init__(inputs, outputs * (2 if gated else 1), (1, reach + own_pixel))
        self.gated = gated
        """Whether the output is for `gate`."""
        self.reach = reach
        """Columns to the left that an output sees."""
        self.own_pixel = own_pixel
        """Whether the last column of the kernel is the pixel itself."""
        self._pad = (reach, 0 if self.own_pixel else -1)
        mask = None
        if colours > 1:
            seeing, seen = colours_of(outputs, colours)[:, None], colours_of(inputs, colours)
            mask = torch.ones(outputs, inputs, 1, reach + 1)
            mask[..., -1] = ((seeing >= seen) if own_colour else (seeing > seen))[..., None]
            mask = mask.repeat(2, 1, 1, 1) if gated else mask
        self.register_buffer("mask", mask, persistent=False)  # it follows from the sizes, so no checkpoint needs it

    @property
    def stacked(self) -> Mapping[str, Sequence[int]]:
        """The maps of f and of g, if it is for `gate`."""
        halves = (self.out_channels // 2,) * 2
        return {"weight": halves, "bias": halves} if self.gated else {}

    @property
    def kernel(self) -> Tensor:
        """The masked weights, [outputs, inputs, 1, columns]."""
        return self.weight if self.mask is None else self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        """Maps [n, outputs, h, w] from maps x [n, inputs, h, w]."""
        return functional.conv2d(functional.pad(x, self._pad) if any(self._pad) else x, self.kernel, self.bias)


class GatedLayer(nn.Module):
    """A layer of the conditional gated PixelCNN, in both stacks; v and s are their maps, and c is the code.

        u = W_v * v + V_v c,    v' = tanh(u_f) sigmoid(u_g)
        t = W_s * s + L u + V_s c,    s' = s + M (tanh(t_f) sigmoid(t_g))

    The vertical stack v sees all rows above and the horizontal stack s the pixels to the left, and the vertical stack
    feeds the horizontal one through L, a 1x1 convolution: the receptive field has no blind spot, and no later pixel is
    seen. M is a 1x1 convolution too. The first layer, in which v and s are both the image, lets no pixel see itself
    (mask A) and has no residual.

    References:
        van den Oord et al., Conditional image generation with PixelCNN decoders, 2016, equations 2 and 4, figure 2.
    """

    def __init__(self, inputs: int, width: int, kernel: int, colours: int, describing: int, *, first: bool) -> None:
        """Make the layer.

        Args:
            inputs: input maps of each stack.
            width: output maps of each stack.
            kernel: kernel size before masking, odd.
            colours: c, the colours of the image.
            describing: channels of the code; 0 without one.
            first: whether the input is the image.
        """
        super().__init__()
        self.first = first
        """Whether the input is the image."""
        self.vertical = AboveConvolution(inputs, 2 * width, kernel, own_row=not first)
        self.link = StackedConvolution(2 * width, (width, width), 1, bias=False)
        self.horizontal = LeftConvolution(inputs, width, kernel // 2, colours, own_colour=not first, gated=True)
        self.merge = LeftConvolution(width, width, 0, colours, own_colour=True)
        self.code = StackedConvolution(describing, (width,) * 4, 1, bias=False) if describing else None

    def described(self, code: Tensor | None) -> tuple[Tensor | float, Tensor | float]:
        """V_v c and V_s c, each [n, 2 width, 1, 1] or [n, 2 width, h, w]; zero without a code.

        Args:
            code: c, [n, describing, 1, 1] for the whole image or [n, describing, h, w] for each pixel, or None.
        """
        if self.code is None or code is None:
            return 0.0, 0.0
        to_vertical, to_horizontal = self.code(code).chunk(2, dim=1)
        return to_vertical, to_horizontal

    def forward(self, v: Tensor, s: Tensor, code: Tensor | None) -> tuple[Tensor, Tensor]:
        """Maps u [n, 2 width, h, w], from which `gate` makes v', and s' [n, width, h, w].

        Args:
            v: maps [n, inputs, h, w] of the vertical stack.
            s: maps [n, inputs, h, w] of the horizontal stack.
            code: c, as in `described`.
        """
        to_vertical, to_horizontal = self.described(code)
        # In place, because no convolution needs its own result for a gradient.
        u = self.vertical(v).add_(to_vertical)
        t = self.horizontal(s).add_(self.link(u)).add_(to_horizontal)
        merged: Tensor = self.merge(gate(t))
        return u, merged if self.first else merged.add_(s)
