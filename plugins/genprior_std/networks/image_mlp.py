"""A critic of images made of fully connected layers, for images of any size."""

from __future__ import annotations

import math

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from genprior import FeatureCritic, PartConfig, PlanError, Sizes, did_you_mean
from genprior_std.layers.conditions import with_known
from genprior_std.layers.fully_connected import Activation, fully_connected
from genprior_std.layers.spectral import normalise_spectrally

__all__ = ["MlpImageCritic"]


class MlpImageCritic(FeatureCritic):
    """A multilayer perceptron from the pixels to a logit; the trunk is its last hidden layer."""

    name = "image_mlp"

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
        self.head = nn.Linear(cfg.hidden[-1], 1)
        if cfg.spectral_norm:
            normalise_spectrally(self)

    @property
    def feature_layers(self) -> tuple[str, ...]:
        """`("hidden1", "hidden2")`, and so on."""
        return tuple(self.layers)

    @property
    def trunk_width(self) -> int:
        """The width of the last hidden layer."""
        return int(self.config.hidden[-1])

    def features(self, x: Tensor, known: Tensor, layer: str) -> Tensor:
        """The output of the named layer, after its normalisation and its activation: [n, f].

        Raises:
            PlanError: there is no such layer.
        """
        if layer not in self.layers:
            raise PlanError(
                f"critic '{self.name}' was asked for the features of layer '{layer}', which it has not"
                f"{did_you_mean(layer, self.feature_layers)}"
            )
        x = x.flatten(1)
        if self.config.conditional:
            x = with_known(x, known)
        for name, module in self.layers.items():
            x = module(x)
            if name == layer:
                break
        return x

    def trunk(self, x: Tensor, known: Tensor) -> Tensor:
        """What the last layer sees: [n, hidden[-1]], after the activation."""
        return self.features(x, known, self.feature_layers[-1])

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Logits [n] of images x [n, c, h, w] in [-1, 1] with known [n, k]."""
        logits: Tensor = self.head(self.trunk(x, known))
        return logits.squeeze(1)
