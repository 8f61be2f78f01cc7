"""A decoder of fully connected layers, for images of any size."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from genprior import Batch, PartConfig, Sizes
from genprior_std.layers.conditional_decoder import ConditionalDecoder
from genprior_std.layers.conditions import with_known
from genprior_std.layers.fully_connected import Activation, fully_connected
from genprior_std.layers.initialisation import Initialisation, initialise_glorot
from genprior_std.layers.pixels import PixelTanh, logit_of_mean

__all__ = ["MlpDecoder"]


class MlpDecoder(ConditionalDecoder):
    """A multilayer perceptron from the code to the pixels, which a tanh keeps in [-1, 1].

    The tanh is taken in at least single precision. With `hidden = [200, 200]`, `activation = "tanh"`, `init = "glorot"`
    and `start_from_mean = true` it is the decoder of the importance weighted autoencoder with one stochastic layer,
    except for the scale of the last layer: there a pixel's probability is sigmoid(u), here (tanh(u) + 1) / 2, which is
    sigmoid(2u).

    References:
        Makhzani et al., Adversarial Autoencoders, 2015, appendix A (two hidden layers of 1000 ReLU units).
        Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders, 2015, section 5.
    """

    name = "mlp"

    class Config(PartConfig):
        """Settings of the fully connected decoder."""

        hidden: tuple[PositiveInt, ...] = Field(default=(1000, 1000), min_length=1)
        """Widths of the hidden layers."""
        activation: Activation = "relu"
        """What follows each hidden layer."""
        batch_norm: bool = False
        """Batch normalisation between a hidden layer and its activation."""
        conditional: bool = False
        """Whether the decoder sees `known`, beside the code."""
        init: Initialisation = "default"
        """Initial weights: torch's default, or Glorot's uniform weights with zero biases."""
        start_from_mean: bool = False
        """Whether the bias of the output is initialised to the mean training image, instead of near zero."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the network.

        Args:
            config: this part's settings.
            sizes: every size that it depends on.
        """
        super().__init__(config, sizes)
        cfg = self.config
        inputs = sizes.code + (sizes.known if cfg.conditional else 0)
        self.layers = nn.Sequential(*fully_connected(inputs, cfg.hidden, cfg.activation, cfg.batch_norm))
        self.to_image = nn.Sequential(nn.Linear(cfg.hidden[-1], math.prod(sizes.image)), PixelTanh())
        if cfg.init == "glorot":
            initialise_glorot(self)

    @torch.no_grad()
    def begin(self, draw: Callable[[int | None], Batch]) -> None:
        """Set the bias of the output such that its tanh is the mean training image, if `start_from_mean` is on."""
        if self.config.start_from_mean:
            cast(nn.Linear, self.to_image[0]).bias.copy_(0.5 * logit_of_mean(draw))  # (tanh(u) + 1) / 2 = sigmoid(2u)

    def forward(self, z: Tensor, known: Tensor) -> Tensor:
        """Images [n, c, h, w] in [-1, 1] from codes z [n, d] and known [n, k]."""
        if self.config.conditional:
            z = with_known(z, known)
        pixels: Tensor = self.to_image(self.layers(z))
        return pixels.view(-1, *self.sizes.image)
