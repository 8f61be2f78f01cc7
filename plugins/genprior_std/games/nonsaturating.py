"""The non-saturating game."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genprior import Game
from genprior_std.games.penalties import LogitGameConfig, zero_centred

__all__ = ["NonSaturating"]


class NonSaturating(Game):
    """Cross-entropy for the critic, -log D for the generator: strong gradients where the critic wins.

        L_D = -E log D(real) - w sum_fakes E log(1 - D(fake)),    L_G = -sum_fakes E log D(fake)

    with D = sigmoid(critic). It has the same fixed point as the minimax game, with a generator gradient of another
    size.

    Source: Goodfellow et al., "Generative adversarial networks", section 3; the default reading of equations 4 and 5 of
    "Learning priors for adversarial autoencoders".
    """

    name = "nonsaturating"

    class Config(LogitGameConfig):
        """Settings of the non-saturating game."""

    def critic_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """L_D, a scalar in nats: the cross-entropy of the logits [n] of real samples and of each kind of fake."""
        on_fakes = torch.stack([softplus(critic(*fake)).mean() for fake in fakes]).sum()
        weight: float = self.config.fake_weight
        return softplus(-critic(*real)).mean() + weight * on_fakes + zero_centred(critic, real, self.config.r1)

    def generator_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """L_G, a scalar in nats: -log D, averaged over each kind of fake, summed over the kinds."""
        return torch.stack([softplus(-critic(*fake)).mean() for fake in fakes]).sum()
