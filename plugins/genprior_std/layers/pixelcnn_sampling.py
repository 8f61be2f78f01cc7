"""Drawing from a gated PixelCNN without computing anything twice."""

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
    """Images [n, c, h, w] in [-1, 1], drawn pixel by pixel, each layer being computed once for each pixel.

    The vertical stack looks at whole rows above alone, so it is computed a row at a time. The horizontal stack then
    goes along the row with one small matrix product a layer, of the maps of the pixels to the left, which are kept; in
    colour images each colour has the rows of the matrix that are its own.

    Args:
        layers: the gated layers, the first of which sees the image.
        head: 1x1 convolutions, each behind a ReLU; the last one gives c m numbers.
        distribution: what m numbers say of a pixel.
        code: what describes the code, [n, describing, 1, 1] or [n, describing, h, w], or None.
        uniforms: [n, c, h, w] in [0, 1), from which `distribution` draws.
    """
    n, colours, h, w = uniforms.shape
    gated = [cast(GatedLayer, layer) for layer in layers]
    like = gated[0].link.weight.new_empty(n, 0)
    rows = [_Vertical(layer, like, h, w, code) for layer in gated]
    pixels = [_Horizontal(layer, like, w, colours) for layer in gated]
    points = [_Point(cast(LeftConvolution, layer), like, colours) for layer in head]
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
                pixels[0].see(x[:, colour, i, j], j, colour)
        rows[0].see(x[:, :, i], i)
    return x


class _Vertical:
    """One layer of the vertical stack, with the rows that came into it, zeros around them."""

    def __init__(self, layer: GatedLayer, like: Tensor, h: int, w: int, code: Tensor | None) -> None:
        self._layer, self._reach = layer, layer.vertical.reach
        self._seen = like.new_zeros(len(like), layer.vertical.in_channels, h + self._reach, w + 2 * self._reach)
        self._to_vertical, self._to_horizontal = layer.described(code)

    def see(self, row: Tensor, i: int) -> None:
        """Keep row i [n, inputs, w] of what comes in."""
        self._seen[:, :, i + self._reach, self._reach : self._reach + row.shape[2]] = row

    def step(self, v: Tensor | None, i: int) -> tuple[Tensor, Tensor]:
        """Row i of what goes out, [n, width, w], and what it adds to the horizontal stack, [n, 2 width, w].

        Args:
            v: row i of what comes in, or None for the image, whose row is not known yet.
            i: the row.
        """
        if v is not None:
            self.see(v, i)
        vertical = self._layer.vertical
        window = self._seen[:, :, i : i + vertical.kernel_size[0]]
        u = functional.conv2d(window, vertical.weight, vertical.bias) + _row(self._to_vertical, i)
        return gate(u).squeeze(2), (self._layer.link(u) + _row(self._to_horizontal, i)).squeeze(2)


def _row(bias: Tensor | float, i: int) -> Tensor | float:
    """Row i of a bias for each pixel, or the bias of all pixels: [n, maps, 1, w] or [n, maps, 1, 1]."""
    return bias[:, :, i : i + 1] if isinstance(bias, Tensor) and bias.shape[2] > 1 else bias


class _Point:
    """A 1x1 convolution at one pixel, with the maps of the colours of that pixel that have come into it."""

    def __init__(self, layer: LeftConvolution, like: Tensor, colours: int) -> None:
        self._seen = like.new_zeros(len(like), layer.in_channels)
        self._inputs = _parts(layer.in_channels, colours)
        self._weights = [part.t() for part in layer.kernel.flatten(1).chunk(colours)]
        self._biases = cast(Tensor, layer.bias).chunk(colours)

    def step(self, s: Tensor, colour: int) -> Tensor:
        """The maps of `colour` that go out, from those that come in."""
        if len(self._weights) == 1:
            return torch.addmm(self._biases[0], s, self._weights[0])
        self._seen[:, self._inputs[colour]] = s
        return torch.addmm(self._biases[colour], self._seen, self._weights[colour])


class _Horizontal:
    """One layer of the horizontal stack along one row, with the maps of the pixels that have come into it."""

    def __init__(self, layer: GatedLayer, like: Tensor, w: int, colours: int) -> None:
        horizontal = layer.horizontal
        self._first, self._reach, self._colours = layer.first, horizontal.reach, colours
        self._inputs = _parts(horizontal.in_channels, colours)
        # What is left of the row stays zero; in the row itself what was kept of the last row is replaced before a
        # weight other than zero meets it.
        self._seen = like.new_zeros(len(like), self._reach + w, horizontal.in_channels)
        columns = horizontal.kernel_size[1]
        self._windows = [
            self._seen[:, j : j + columns].view(len(like), columns * horizontal.in_channels) for j in range(w)
        ]
        # [2 (f and g), c, width / c, columns * inputs], for the maps of one colour side by side.
        kernel = horizontal.kernel.squeeze(2).transpose(1, 2).flatten(1)
        kernel = kernel.view(2, colours, -1, kernel.shape[1])
        self._weights = [kernel[:, colour].flatten(0, 1).t().contiguous() for colour in range(colours)]
        self._bias = cast(Tensor, horizontal.bias)
        self._merge = _Point(layer.merge, like, colours)
        self._biases: list[tuple[Tensor, ...]] = []

    def see(self, s: Tensor, j: int, colour: int) -> None:
        """Keep the maps of `colour` at column j of what comes in, [n, inputs / c] or [n] for an image."""
        self._seen[:, self._reach + j, self._inputs[colour]] = s.view(len(s), -1)

    def start(self, bias: Tensor) -> None:
        """Begin a row, to which the vertical stack and the code add `bias` [n, 2 width, w]."""
        by_colour = (
            (bias + self._bias[:, None]).view(len(bias), 2, self._colours, -1, bias.shape[2]).permute(2, 4, 0, 1, 3)
        )
        self._biases = [each.flatten(2).contiguous().unbind(0) for each in by_colour]

    def step(self, s: Tensor | None, j: int, colour: int) -> Tensor:
        """The maps of `colour` at column j that go out, [n, width / c].

        Args:
            s: those that come in, or None for the image, whose colour is not known yet.
            j: the column.
            colour: the colour.
        """
        if s is not None:
            self.see(s, j, colour)
        t = torch.addmm(self._biases[colour][j], self._windows[j], self._weights[colour])
        merged = self._merge.step(gate(t), colour)
        return merged if s is None else merged + s


def _parts(maps: int, colours: int) -> list[slice]:
    """The maps of each colour."""
    return [slice(maps // colours * colour, maps // colours * (colour + 1)) for colour in range(colours)]
