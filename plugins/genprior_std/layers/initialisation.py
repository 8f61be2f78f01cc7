"""Initial weights of the published networks."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

__all__ = ["Start", "start_glorot", "start_he", "start_normal"]

Start = Literal["default", "glorot"]
"""Where fully connected layers start: torch's own draw, or Glorot's uniform weights with biases of zero."""

DEVIATION = 0.02
"""Standard deviation of DCGAN's initial weights."""


@torch.no_grad()
def start_normal(module: nn.Module) -> None:
    """Start as DCGAN does: W ~ N(0, 0.02^2), gains of batch normalisation ~ N(1, 0.02^2), biases 0.

    Args:
        module: holds the layers.

    References:
        Radford, Metz and Chintala, Unsupervised representation learning with deep convolutional generative adversarial
        networks, 2015, section 4; the gains as in its code.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, std=DEVIATION)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(layer.weight, mean=1.0, std=DEVIATION)
            nn.init.zeros_(layer.bias)


def start_he(module: nn.Module) -> None:
    """Start as the code of WGAN-GP does: convolutions of twice Glorot's variance, fully connected layers of his own.

        W ~ uniform(-a, a),  a = sqrt(3 s),  s = 4 / (f_in + f_out) or 2 / (f_in + f_out),  b = 0

    A convolution of stride t has f_out, and a transposed one f_in, divided by t^2: so many inputs meet in an output.

    Args:
        module: holds the layers.

    References:
        Gulrajani et al., Improved training of Wasserstein GANs, 2017; as in its code.
    """
    for layer in module.modules():
        _start_uniform(layer, 1.0 if isinstance(layer, nn.Linear) else 2.0)


def start_glorot(module: nn.Module, pieces: int = 1) -> None:
    """Start each layer in `module` with Glorot's uniform weights, of variance 2 / (f_in + f_out), and biases of 0.

        W ~ uniform(-a, a),  a = sqrt(6 / (f_in + f_out)),  b = 0

    Args:
        module: holds the layers, or is one.
        pieces: how many layers of equal width, side by side, each layer stands for; a mean and a log variance are two.

    References:
        Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010, equation 16.
    """
    for layer in module.modules():
        _start_uniform(layer, 1.0, pieces)


@torch.no_grad()
def _start_uniform(layer: nn.Module, times: float, pieces: int = 1) -> None:
    """Let each piece of a layer start at `times` Glorot's variance; other modules stay as they are."""
    fans: float
    if isinstance(layer, nn.Linear):
        fans = layer.in_features + layer.out_features / pieces
    elif isinstance(layer, nn.Conv2d):
        outputs = layer.out_channels / pieces
        fans = math.prod(layer.kernel_size) * (layer.in_channels + outputs / math.prod(layer.stride))
    elif isinstance(layer, nn.ConvTranspose2d):
        outputs = layer.out_channels / pieces
        fans = math.prod(layer.kernel_size) * (layer.in_channels / math.prod(layer.stride) + outputs)
    else:
        return
    bound = math.sqrt(6 * times / fans)
    nn.init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
