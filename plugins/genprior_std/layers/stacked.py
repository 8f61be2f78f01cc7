"""Layers that compute several layers of one input at once: their weights are stacked, first rows first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from genprior import StackedWeights

__all__ = ["StackedConvolution", "StackedLinear"]


class StackedLinear(nn.Linear, StackedWeights):
    """Fully connected layers of the same input as one product, [n, sum of outputs]."""

    def __init__(self, inputs: int, outputs: Sequence[int], bias: bool = True) -> None:
        """Make the layer, with torch's default initialisation of `nn.Linear`.

        Args:
            inputs: input width.
            outputs: output width of each of the layers.
            bias: whether they have biases.
        """
        super().__init__(inputs, sum(outputs), bias)
        self._outputs = tuple(outputs)

    @property
    def stacked(self) -> Mapping[str, Sequence[int]]:
        """The output widths, for weights and biases."""
        return {"weight": self._outputs, "bias": self._outputs}


class StackedConvolution(nn.Conv2d, StackedWeights):
    """Convolutions of the same maps as one, [n, sum of outputs, h, w]."""

    def __init__(
        self, inputs: int, outputs: Sequence[int], kernel: int, stride: int = 1, padding: int = 0, *, bias: bool = True
    ) -> None:
        """Make the layer, with torch's default initialisation of `nn.Conv2d`.

        Args:
            inputs: input channels.
            outputs: output channels of each of the layers.
            kernel: side of the kernel.
            stride: steps of the kernel.
            padding: zeros at each border.
            bias: whether they have biases.
        """
        super().__init__(inputs, sum(outputs), kernel, stride, padding, bias=bias)
        self._outputs = tuple(outputs)

    @property
    def stacked(self) -> Mapping[str, Sequence[int]]:
        """The output channels, for weights and biases."""
        return {"weight": self._outputs, "bias": self._outputs}
