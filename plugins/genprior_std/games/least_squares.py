"""The least-squares game."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genprior import Game
from genprior_std.games.penalties import LogitGameConfig, zero_centred

__all__ = ["LeastSquares"]


class LeastSquares(Game):
    """Squared distances of the raw output l to targets: a = 0 for fakes, b = 1 for real, c = 1 for the generator.

        L_D = 1/2 E (l(real) - 1)^2 + w sum_fakes 1/2 E l(fake)^2,    L_G = sum_fakes 1/2 E (l(fake) - 1)^2

    No sigmoid; means over the batch, where the authors' code sums.

    Source: Mao et al., "Least squares generative adversarial networks"; targets a = 0, b = c = 1.
    """

    name = "least_squares"

    class Config(LogitGameConfig):
        """Settings of the least-squares game."""

    def critic_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """L_D >= 0, a scalar: half the squared distances of the outputs [n] to 1 for real and to 0 for fakes."""
        on_fakes = torch.stack([critic(*fake).square().mean() for fake in fakes]).sum()
        weight: float = self.config.fake_weight
        loss = 0.5 * ((critic(*real) - 1).square().mean() + weight * on_fakes)
        return loss + zero_centred(critic, real, self.config.r1)

    def generator_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """L_G >= 0, a scalar: half the squared distance to 1, averaged over each kind of fake, then summed."""
        return 0.5 * torch.stack([(critic(*fake) - 1).square().mean() for fake in fakes]).sum()
