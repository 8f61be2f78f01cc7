"""A decoder of fully connected layers, for images of any size."""

from __future__ import annotations

import math

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from genprior import Decoder, PartConfig, Sizes
from genprior_std.networks.layers import Activation, fully_connected, with_known

__all__ = ["MlpDecoder"]


class MlpDecoder(Decoder):
    """A multilayer perceptron from the code to the pixels, which a tanh keeps in [-1, 1].

    References:
        Makhzani et al., Adversarial Autoencoders, 2015, appendix A (two hidden layers of 1000 ReLU units).
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
        self.to_image = nn.Sequential(nn.Linear(cfg.hidden[-1], math.prod(sizes.image)), nn.Tanh())

    def forward(self, z: Tensor, known: Tensor) -> Tensor:
        """Images [n, c, h, w] in [-1, 1] from codes z [n, d] and known [n, k]."""
        if self.config.conditional:
            z = with_known(z, known)
        pixels: Tensor = self.to_image(self.layers(z))
        return pixels.view(-1, *self.sizes.image)
