"""Initial weights of the published networks."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

__all__ = ["Initialisation", "initialise_glorot", "initialise_he", "initialise_normal"]

Initialisation = Literal["default", "glorot"]
"""Initial weights of fully connected layers: torch's default, or Glorot's uniform weights with zero biases."""

DEVIATION = 0.02
"""Standard deviation of DCGAN's initial weights."""


@torch.no_grad()
def initialise_normal(module: nn.Module) -> None:
    """Initialise as DCGAN does: W ~ N(0, 0.02^2), gains of batch normalisation ~ N(1, 0.02^2), biases 0.

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


def initialise_he(module: nn.Module) -> None:
    """Initialise as the code of WGAN-GP does: convolutions have twice Glorot's variance, linear layers Glorot's.

        W ~ uniform(-a, a),  a = sqrt(3 s),  s = 4 / (f_in + f_out) or 2 / (f_in + f_out),  b = 0

    A convolution of stride t has f_out, and a transposed one f_in, divided by t^2, because only so many inputs
    contribute to an output.

    Args:
        module: holds the layers.

    References:
        Gulrajani et al., Improved training of Wasserstein GANs, 2017; as in its code.
    """
    for layer in module.modules():
        _initialise_uniform(layer, 1.0 if isinstance(layer, nn.Linear) else 2.0)


def initialise_glorot(module: nn.Module, pieces: int = 1) -> None:
    """Initialise each layer in `module` with Glorot's uniform weights, of variance 2 / (f_in + f_out), and biases of 0.

        W ~ uniform(-a, a),  a = sqrt(6 / (f_in + f_out)),  b = 0

    Args:
        module: holds the layers, or is one.
        pieces: number of equally wide layers that each layer combines; 2 for a mean and a log variance.

    References:
        Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010, equation 16.
    """
    for layer in module.modules():
        _initialise_uniform(layer, 1.0, pieces)


@torch.no_grad()
def _initialise_uniform(layer: nn.Module, times: float, pieces: int = 1) -> None:
    """Initialise each piece of a layer with `times` Glorot's variance; leave other modules unchanged."""
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
