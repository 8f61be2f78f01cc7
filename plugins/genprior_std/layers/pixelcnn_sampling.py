"""Cached sampling from a gated PixelCNN, which computes nothing twice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from genprior_std.layers.masked import GatedLayer, LeftConvolution, gate
from genprior_std.layers.pixel_distributions import PixelDistribution

__all__ = ["sample_rows"]


def sample_rows(
    layers: Iterable[torch.nn.Module],
    head: Iterable[torch.nn.Module],
    distribution: PixelDistribution,
    code: Tensor | None,
    uniforms: Tensor,
) -> Tensor:
    """Images [n, c, h, w] in [-1, 1], drawn pixel by pixel; each layer is computed once for each pixel.

    The vertical stack sees only whole rows above, so it is computed a row at a time. The horizontal stack then goes
    along the row with one small matrix product per layer, on cached maps of the pixels to the left; in colour images
    each colour uses its own rows of the matrix.

    Args:
        layers: the gated layers, the first of which sees the image.
        head: 1x1 convolutions, each after a ReLU; the last one outputs c m parameters.
        distribution: of a pixel, with m parameters.
        code: the code, [n, describing, 1, 1] or [n, describing, h, w], or None.
        uniforms: [n, c, h, w] in [0, 1), from which `distribution` draws.
    """
    n, colours, h, w = uniforms.shape
    gated = [cast(GatedLayer, layer) for layer in layers]
    like = gated[0].link.weight.new_empty(n, 0)
    rows = [_Vertical(layer, like, h, w, code) for layer in gated]
    pixels = [_Horizontal(layer, like, w, colours) for layer in gated]
    points = [_Pointwise(cast(LeftConvolution, layer), like, colours) for layer in head]
    x = uniforms.new_zeros(uniforms.shape)
    for i in range(h):
        v: Tensor | None = None
        for row, along in zip(rows, pixels, strict=True):
            v, bias = row.step(v, i)
            along.start(bias)
        for j in range(w):
            for colour in range(colours):
                s: Tensor | None = None
                for along in pixels:
                    s = along.step(s, j, colour)
                for point in points:
                    s = point.step(cast(Tensor, s).relu(), colour)
                numbers = cast(Tensor, s).to(uniforms.dtype)[:, None, :, None, None]
                x[:, colour, i, j] = distribution.draw(numbers, uniforms[:, colour, i, j].view(n, 1, 1, 1)).view(n)
                pixels[0].keep(x[:, colour, i, j], j, colour)
        rows[0].keep(x[:, :, i], i)
    return x


class _Vertical:
    """One layer of the vertical stack, with a cache of its input rows, padded with zeros."""

    def __init__(self, layer: GatedLayer, like: Tensor, h: int, w: int, code: Tensor | None) -> None:
        self._layer, self._reach = layer, layer.vertical.reach
        self._cache = like.new_zeros(len(like), layer.vertical.in_channels, h + self._reach, w + 2 * self._reach)
        self._to_vertical, self._to_horizontal = layer.described(code)

    def keep(self, row: Tensor, i: int) -> None:
        """Cache row i [n, inputs, w] of the input."""
        self._cache[:, :, i + self._reach, self._reach : self._reach + row.shape[2]] = row

    def step(self, v: Tensor | None, i: int) -> tuple[Tensor, Tensor]:
        """Row i of the output, [n, width, w], and its contribution to the horizontal stack, [n, 2 width, w].

        Args:
            v: row i of the input, or None for the image, whose row is not drawn yet.
            i: the row.
        """
        if v is not None:
            self.keep(v, i)
        vertical = self._layer.vertical
        window = self._cache[:, :, i : i + vertical.kernel_size[0]]
        u = functional.conv2d(window, vertical.weight, vertical.bias) + _row(self._to_vertical, i)
        return gate(u).squeeze(2), (self._layer.link(u) + _row(self._to_horizontal, i)).squeeze(2)


def _row(bias: Tensor | float, i: int) -> Tensor | float:
    """Row i of a bias per pixel, or the bias shared by all pixels: [n, maps, 1, w] or [n, maps, 1, 1]."""
    return bias[:, :, i : i + 1] if isinstance(bias, Tensor) and bias.shape[2] > 1 else bias


class _Pointwise:
    """A 1x1 convolution at one pixel, with a cache of the input maps of that pixel's colours."""

    def __init__(self, layer: LeftConvolution, like: Tensor, colours: int) -> None:
        self._cache = like.new_zeros(len(like), layer.in_channels)
        self._inputs = _colour_slices(layer.in_channels, colours)
        self._weights = [part.t() for part in layer.kernel.flatten(1).chunk(colours)]
        self._biases = cast(Tensor, layer.bias).chunk(colours)

    def step(self, s: Tensor, colour: int) -> Tensor:
        """The output maps of `colour` from its input maps."""
        if len(self._weights) == 1:
            return torch.addmm(self._biases[0], s, self._weights[0])
        self._cache[:, self._inputs[colour]] = s
        return torch.addmm(self._biases[colour], self._cache, self._weights[colour])


class _Horizontal:
    """One layer of the horizontal stack along one row, with a cache of the input maps of its pixels."""

    def __init__(self, layer: GatedLayer, like: Tensor, w: int, colours: int) -> None:
        horizontal = layer.horizontal
        self._first, self._reach, self._colours = layer.first, horizontal.reach, colours
        self._inputs = _colour_slices(horizontal.in_channels, colours)
        # The padding to the left of the row stays zero; entries of the previous row are overwritten before a weight
        # other than zero is applied to them.
        self._cache = like.new_zeros(len(like), self._reach + w, horizontal.in_channels)
        columns = horizontal.kernel_size[1]
        self._windows = [
            self._cache[:, j : j + columns].view(len(like), columns * horizontal.in_channels) for j in range(w)
        ]
        # [2 (f and g), c, width / c, columns * inputs], for the maps of one colour side by side.
        kernel = horizontal.kernel.squeeze(2).transpose(1, 2).flatten(1)
        kernel = kernel.view(2, colours, -1, kernel.shape[1])
        self._weights = [kernel[:, colour].flatten(0, 1).t().contiguous() for colour in range(colours)]
        self._bias = cast(Tensor, horizontal.bias)
        self._merge = _Pointwise(layer.merge, like, colours)
        self._biases: list[tuple[Tensor, ...]] = []

    def keep(self, s: Tensor, j: int, colour: int) -> None:
        """Cache the input maps of `colour` at column j, [n, inputs / c] or [n] for an image."""
        self._cache[:, self._reach + j, self._inputs[colour]] = s.view(len(s), -1)

    def start(self, bias: Tensor) -> None:
        """Begin a row, to which the vertical stack and the code add `bias` [n, 2 width, w]."""
        by_colour = (
            (bias + self._bias[:, None]).view(len(bias), 2, self._colours, -1, bias.shape[2]).permute(2, 4, 0, 1, 3)
        )
        self._biases = [each.flatten(2).contiguous().unbind(0) for each in by_colour]

    def step(self, s: Tensor | None, j: int, colour: int) -> Tensor:
        """The output maps of `colour` at column j, [n, width / c].

        Args:
            s: the input maps, or None for the image, whose colour is not drawn yet.
            j: the column.
            colour: the colour.
        """
        if s is not None:
            self.keep(s, j, colour)
        t = torch.addmm(self._biases[colour][j], self._windows[j], self._weights[colour])
        merged = self._merge.step(gate(t), colour)
        return merged if s is None else merged + s


def _colour_slices(maps: int, colours: int) -> list[slice]:
    """The slice of the maps of each colour."""
    return [slice(maps // colours * colour, maps // colours * (colour + 1)) for colour in range(colours)]
