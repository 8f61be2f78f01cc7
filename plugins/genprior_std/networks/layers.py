"""What several networks share: conditions as inputs, image sizes, fully connected layers."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from genprior import PlanError

__all__ = ["LEAK", "Activation", "activation", "doublings", "fully_connected", "with_known", "with_known_maps"]

LEAK = 0.2
"""Slope of a leaky ReLU below zero; the paper gives none, and 0.2 is the slope of DCGAN."""

Activation = Literal["relu", "tanh", "leaky_relu"]


def activation(name: Activation) -> nn.Module:
    """The activation called `name`; in place where autograd needs no more than its result."""
    if name == "relu":
        return nn.ReLU(inplace=True)
    if name == "leaky_relu":
        return nn.LeakyReLU(LEAK, inplace=True)
    return nn.Tanh()


def with_known(z: Tensor, known: Tensor) -> Tensor:
    """Codes or flat images [n, d] with the condition [n, k] behind them: [n, d + k]."""
    return torch.cat([z, known], dim=1) if known.shape[1] else z


def with_known_maps(x: Tensor, known: Tensor) -> Tensor:
    """Images [n, c, h, w] with the condition [n, k] behind them as k constant maps: [n, c + k, h, w]."""
    if not known.shape[1]:
        return x
    maps = known[:, :, None, None].expand(-1, -1, *x.shape[2:])
    # The constant maps have no memory format of their own, so without this a channels-last batch would lose its.
    if x.is_contiguous(memory_format=torch.channels_last):
        maps = maps.contiguous(memory_format=torch.channels_last)
    return torch.cat([x, maps], dim=1)


def doublings(part: str, image: tuple[int, int, int], instead: str) -> int:
    """How often 4 x 4 must be doubled to be the image: k for sides of 4 * 2^k.

    Args:
        part: what asks, for the message.
        image: (c, h, w).
        instead: a part that takes any size, for the message.

    Raises:
        PlanError: the image is not square, or its side is not 4, 8, 16, 32, 64 ...
    """
    _, h, w = image
    k = (h // 4).bit_length() - 1
    if h != w or k < 0 or h != 4 << k:
        near = min((4 << i for i in range(16)), key=lambda side: abs(side - max(h, w)))
        raise PlanError(
            f"{part} was asked to take images of {h} x {w} pixels, but it goes from 4 x 4 in factors of two; "
            f"possible are square images with a side of 4, 8, 16, 32, 64, 128 ... "
            f"Set the data set's `size = {near}`, or use {instead}, which takes any size"
        )
    return k


def fully_connected(inputs: int, hidden: tuple[int, ...], name: Activation, batch_norm: bool) -> list[nn.Sequential]:
    """Fully connected layers, each followed by its batch normalisation, if wanted, and its activation.

    A layer that is batch-normalised has no bias: the normalisation would subtract it again.

    Args:
        inputs: width of what comes in.
        hidden: width of each layer, in order.
        name: the activation.
        batch_norm: whether to normalise before the activation.

    Returns:
        One module a layer.
    """
    layers = []
    for outputs in hidden:
        norm = [nn.BatchNorm1d(outputs)] if batch_norm else []
        layers.append(nn.Sequential(nn.Linear(inputs, outputs, bias=not batch_norm), *norm, activation(name)))
        inputs = outputs
    return layers
