"""The minimax game: the generator's loss is the critic's, reversed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genprior_std.games.nonsaturating import NonSaturating

__all__ = ["Minimax"]


class Minimax(NonSaturating):
    """Cross-entropy for the critic, its negative for the generator: the game as it is printed.

        L_D = -E log D(real) - w sum_fakes E log(1 - D(fake)),    L_G = sum_fakes E log(1 - D(fake))

    with D = sigmoid(critic). The generator's gradient vanishes where the critic wins; see `nonsaturating`.

    Source: Goodfellow et al., "Generative adversarial networks", equation 1; algorithm 1 of "Learning priors for
    adversarial autoencoders", whose printed "-L" is this reversal of the gradient.
    """

    name = "minimax"

    def generator_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """L_G <= 0, a scalar in nats: log(1 - D), averaged over each kind of fake, summed over the kinds."""
        return -torch.stack([softplus(critic(*fake)).mean() for fake in fakes]).sum()
