"""An encoder of fully connected layers, for images of any size."""

from __future__ import annotations

import math

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from genprior import Encoder, PartConfig, Posterior, Sizes
from genprior_std.networks.layers import Activation, Start, fully_connected, glorot, with_known
from genprior_std.networks.posterior import PosteriorForm, posterior_from, posterior_width

__all__ = ["MlpEncoder"]


class MlpEncoder(Encoder):
    """A multilayer perceptron from the pixels to the code; two layers of 1000 by default.

    With `hidden = [200, 200]`, `activation = "tanh"`, `init = "glorot"` and `posterior = "gaussian"` it is that of the
    importance weighted autoencoder with one stochastic layer.

    References:
        Makhzani et al., Adversarial Autoencoders, 2015, appendix A (two hidden layers of 1000 ReLU units).
        Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders, 2015, section 5.
    """

    name = "mlp"

    class Config(PartConfig):
        """Settings of the fully connected encoder."""

        hidden: tuple[PositiveInt, ...] = Field(default=(1000, 1000), min_length=1)
        """Widths of the hidden layers."""
        activation: Activation = "relu"
        """What follows each hidden layer."""
        batch_norm: bool = False
        """Batch normalisation between a hidden layer and its activation."""
        conditional: bool = False
        """Whether the encoder sees `known`, beside the pixels."""
        posterior: PosteriorForm = "point"
        """A deterministic code, or a Gaussian with a diagonal covariance."""
        init: Start = "default"
        """Where the layers start: torch's own draw, or Glorot's uniform weights with biases of zero."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the network.

        Args:
            config: this part's settings.
            sizes: every size that it depends on.
        """
        super().__init__(config, sizes)
        cfg = self.config
        inputs = math.prod(sizes.image) + (sizes.known if cfg.conditional else 0)
        self.layers = nn.Sequential(*fully_connected(inputs, cfg.hidden, cfg.activation, cfg.batch_norm))
        self.to_code = nn.Linear(cfg.hidden[-1], posterior_width(cfg.posterior, sizes.code))
        if cfg.init == "glorot":
            glorot(self.layers)
            glorot(self.to_code, pieces=posterior_width(cfg.posterior, 1))

    def forward(self, x: Tensor, known: Tensor) -> Posterior:
        """q(z | x, known) for images x [n, c, h, w] in [-1, 1] and known [n, k]."""
        x = x.flatten(1)
        if self.config.conditional:
            x = with_known(x, known)
        return posterior_from(self.config.posterior, self.to_code(self.layers(x)))
