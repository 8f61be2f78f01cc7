"""An encoder of fully connected layers, for images of any size."""

from __future__ import annotations

import math

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import dropout

from genprior import PartConfig, Posterior, Sizes
from genprior_std.layers.conditions import with_known
from genprior_std.layers.fully_connected import Activation, fully_connected
from genprior_std.layers.initialisation import Initialisation, initialise_glorot
from genprior_std.layers.posterior import PosteriorEncoder, PosteriorForm, code_norm, posterior_from, posterior_layer

__all__ = ["MlpEncoder"]


class MlpEncoder(PosteriorEncoder):
    """A multilayer perceptron from the pixels to the code; two layers of 1000 by default.

    With `hidden = [200, 200]`, `activation = "tanh"`, `init = "glorot"` and `posterior = "gaussian"` it is the encoder
    of the importance weighted autoencoder with one stochastic layer.

    In training, pixels may be set to black, noise added to them, and dropout applied to the first hidden layer:

        (x + 1) b - 1,  b ~ Bernoulli(1 - input_dropout);    x + input_noise e,  e ~ N(0, I);
        h_1 m / (1 - dropout),  m ~ Bernoulli(1 - dropout)

    Pixels that stay are not scaled up.

    References:
        Makhzani et al., Adversarial Autoencoders, 2015, appendix A (two hidden layers of 1000 ReLU units; noise on the
        input and dropout regularise its semi-supervised model).
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
        """A point, a Gaussian with a diagonal covariance, a softmax (a soft category), or von Mises-Fisher (sphere)."""
        normalise_code: bool = False
        """Batch normalisation, with a learned scale and shift, of the code; for a softmax, of its logits."""
        init: Initialisation = "default"
        """Initial weights: torch's default, or Glorot's uniform weights with zero biases."""
        input_dropout: float = Field(default=0.0, ge=0, lt=1)
        """Probability with which a number of the image is set to -1, black, in training only."""
        input_noise: float = Field(default=0.0, ge=0, allow_inf_nan=False)
        """Standard deviation of Gaussian noise on the pixels, on their scale [-1, 1], in training only."""
        dropout: float = Field(default=0.0, ge=0, lt=1)
        """Dropout probability of the first hidden layer, in training only."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the network.

        Args:
            config: this part's settings.
            sizes: every size that it depends on.

        Raises:
            PlanError: `normalise_code` is on and the posterior is Gaussian.
        """
        super().__init__(config, sizes)
        cfg = self.config
        inputs = math.prod(sizes.image) + (sizes.known if cfg.conditional else 0)
        self.layers = nn.Sequential(*fully_connected(inputs, cfg.hidden, cfg.activation, cfg.batch_norm))
        self.to_code = posterior_layer(cfg.posterior, cfg.hidden[-1], sizes.code, bias=not cfg.normalise_code)
        self.code_norm = code_norm(self.name, cfg.posterior, sizes.code, cfg.normalise_code)
        if cfg.init == "glorot":
            initialise_glorot(self.layers)
            initialise_glorot(self.to_code, pieces=self.to_code.out_features // sizes.code)

    def forward(self, x: Tensor, known: Tensor) -> Posterior:
        """q(z | x, known) for images x [n, c, h, w] in [-1, 1] and known [n, k]."""
        cfg = self.config
        x = x.flatten(1)
        if self.training and cfg.input_dropout:
            x = torch.where(torch.rand_like(x) < cfg.input_dropout, -1.0, x)
        if self.training and cfg.input_noise:
            x = x + cfg.input_noise * torch.randn_like(x)
        if cfg.conditional:
            x = with_known(x, known)
        first, *others = self.layers
        x = first(x)
        if self.training and cfg.dropout:
            x = dropout(x, cfg.dropout)
        for layer in others:
            x = layer(x)
        return posterior_from(cfg.posterior, self.code_norm(self.to_code(x)))
