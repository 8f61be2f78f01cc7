"""The paper's critic of codes: a multilayer perceptron."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from genprior import Critic, PartConfig, Sizes
from genprior_std.layers.conditions import with_known
from genprior_std.layers.fully_connected import fully_connected

__all__ = ["CodeCritic"]


class CodeCritic(Critic):
    """The code discriminator of Table 4, on logits: FC 1000, LReLU -> FC 500, LReLU -> FC 200, LReLU -> FC 1.

    With a condition it sees [z, known], as in the supervised adversarial autoencoder; `conditional = false` is
    Algorithm 1 as written, where the critic sees only the codes.

    In training, noise may be added to the codes, z + input_noise e with e ~ N(0, I), so that the critic cannot
    perfectly separate two distributions that hardly overlap; a public implementation of the adversarial autoencoder
    (musyoku/adversarial-autoencoder) adds 0.3.

    References:
        Learning priors for adversarial autoencoders, Table 4 (code discriminator).
    """

    name = "code_mlp"

    class Config(PartConfig):
        """Settings of the code critic."""

        hidden: tuple[PositiveInt, ...] = Field(default=(1000, 500, 200), min_length=1)
        """Widths of the hidden layers."""
        conditional: bool = True
        """Whether the critic sees `known`, beside the code; without a condition it makes no difference."""
        input_noise: float = Field(default=0.0, ge=0, allow_inf_nan=False)
        """Standard deviation of Gaussian noise on the codes, in training only."""

    @classmethod
    def sees_known(cls, config: Any) -> bool:
        """Whether the setting `conditional` is on."""
        return bool(config.conditional)

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the network.

        Args:
            config: this part's settings.
            sizes: every size that it depends on.
        """
        super().__init__(config, sizes)
        hidden: tuple[int, ...] = self.config.hidden
        inputs = sizes.code + (sizes.known if self.config.conditional else 0)
        self.layers = nn.Sequential(*fully_connected(inputs, hidden, "leaky_relu", batch_norm=False))
        self.head = nn.Linear(hidden[-1], 1)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Logits [n] of codes x [n, d] with known [n, k]."""
        if self.training and self.config.input_noise:
            x = x + self.config.input_noise * torch.randn_like(x)
        if self.config.conditional:
            x = with_known(x, known)
        logits: Tensor = self.head(self.layers(x))
        return logits.squeeze(1)
