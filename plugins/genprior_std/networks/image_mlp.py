"""A critic of images made of fully connected layers, for images of any size."""

from __future__ import annotations

import math

from pydantic import Field, PositiveInt
from torch import nn

from genprior import PartConfig, Sizes
from genprior_std.layers.fully_connected import Activation, fully_connected
from genprior_std.layers.layered_critic import LayeredCritic
from genprior_std.layers.spectral import normalise_spectrally

__all__ = ["MlpImageCritic"]


class MlpImageCritic(LayeredCritic):
    """A multilayer perceptron from the pixels to a logit; the trunk is its last hidden layer.

    The features `hidden1`, `hidden2` ... are those after normalisation and activation.
    """

    name = "image_mlp"
    flat = True

    class Config(PartConfig):
        """Settings of the fully connected image critic."""

        hidden: tuple[PositiveInt, ...] = Field(default=(1000, 1000), min_length=1)
        """Widths of the hidden layers."""
        activation: Activation = "leaky_relu"
        """What follows each hidden layer."""
        batch_norm: bool = False
        """Batch normalisation between a hidden layer and its activation."""
        spectral_norm: bool = False
        """Whether each weight is divided by its largest singular value; batch normalisation would undo it."""
        conditional: bool = False
        """Whether the critic sees `known`, beside the pixels."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the network.

        Args:
            config: this part's settings.
            sizes: every size that it depends on.
        """
        super().__init__(config, sizes)
        cfg = self.config
        inputs = math.prod(sizes.image) + (sizes.known if cfg.conditional else 0)
        layers = fully_connected(inputs, cfg.hidden, cfg.activation, cfg.batch_norm)
        self.layers = nn.ModuleDict({f"hidden{i}": layer for i, layer in enumerate(layers, start=1)})
        self.to_trunk = nn.Identity()
        self.head = nn.Linear(cfg.hidden[-1], 1)
        if cfg.spectral_norm:
            normalise_spectrally(self)
