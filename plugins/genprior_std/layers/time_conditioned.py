"""A multilayer perceptron that also sees a time, or a noise level, as the networks of flows and diffusions do."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["TimeConditioned"]

FREQUENCIES = 8
"""The number of sines and of cosines of the time."""


class TimeConditioned(nn.Module):
    """A multilayer perceptron from codes, a time and a condition to one number for each of the code.

        f(z, t, asked) = W SiLU(... SiLU(V [z, t, cos(pi j t / 2), sin(pi j t / 2), asked])),    j = 1 ... 8

    The last layer begins at zero, so that f is 0 before training. Meant for times in [-2, 2].
    """

    frequencies: Tensor

    def __init__(self, code: int, asked: int, hidden: tuple[int, ...]) -> None:
        """Make the layers.

        Args:
            code: d, the width of a code.
            asked: k, the width of the condition; 0 without one.
            hidden: widths of the hidden layers.
        """
        super().__init__()
        self.register_buffer("frequencies", math.pi / 2 * torch.arange(1.0, FREQUENCIES + 1), persistent=False)
        widths = (code + 1 + 2 * FREQUENCIES + asked, *hidden)
        layers: list[nn.Module] = []
        for inputs, outputs in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Linear(inputs, outputs), nn.SiLU()]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], code)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, z: Tensor, t: Tensor, asked: Tensor) -> Tensor:
        """Returns f [n, d] of codes z [n, d], times t [n, 1] and conditions asked [n, k]."""
        angles = t * self.frequencies
        features: Tensor = self.layers(torch.cat([z, t, angles.cos(), angles.sin(), asked], 1))
        result: Tensor = self.head(features)
        return result
