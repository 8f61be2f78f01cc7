"""Fully connected layers and their activations."""

from __future__ import annotations

from typing import Literal

from torch import nn

__all__ = ["LEAK", "Activation", "activation", "fully_connected"]

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


def fully_connected(inputs: int, hidden: tuple[int, ...], name: Activation, batch_norm: bool) -> list[nn.Sequential]:
    """Fully connected layers, each followed by batch normalisation (optional) and the activation.

    A layer that is batch-normalised has no bias: the normalisation would subtract it again.

    Args:
        inputs: input width.
        hidden: width of each layer, in order.
        name: the activation.
        batch_norm: whether to normalise before the activation.

    Returns:
        One module per layer.
    """
    layers = []
    for outputs in hidden:
        norm = [nn.BatchNorm1d(outputs)] if batch_norm else []
        layers.append(nn.Sequential(nn.Linear(inputs, outputs, bias=not batch_norm), *norm, activation(name)))
        inputs = outputs
    return layers
