"""The minimax game."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from genprior.parts import Game, PartConfig

__all__ = ["Minimax"]


class Minimax(Game):
    """Cross-entropy for the critic, its negative for the generator: the game as it is printed.

        L_D = -E log D(real) - w sum_fakes E log(1 - D(fake)),    L_G = sum_fakes E log(1 - D(fake))

    with D = sigmoid(critic). The generator's gradient vanishes where the critic wins; see `nonsaturating`.

    Source: Goodfellow et al., "Generative adversarial networks", equation 1; algorithm 1 of "Learning priors for
    adversarial autoencoders", whose printed "-L" is this reversal of the gradient.
    """

    name = "minimax"

    class Config(PartConfig):
        """Settings of the minimax game."""

        fake_weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
        """w, the weight of each kind of fake in the critic's loss; 0.5 balances two kinds against one real."""

    def critic_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """L_D, a scalar in nats: the cross-entropy of the logits [n] of real samples and of each kind of fake."""
        on_fakes = torch.stack([softplus(critic(*fake)).mean() for fake in fakes]).sum()
        weight: float = self.config.fake_weight
        return softplus(-critic(*real)).mean() + weight * on_fakes

    def generator_loss(self, critic: Callable[[Tensor, Tensor], Tensor], *fakes: tuple[Tensor, Tensor]) -> Tensor:
        """L_G <= 0, a scalar in nats: log(1 - D), averaged over each kind of fake, summed over the kinds."""
        return -torch.stack([softplus(critic(*fake)).mean() for fake in fakes]).sum()
