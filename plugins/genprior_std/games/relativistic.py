"""The relativistic average game."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from genprior import Game, PartConfig
from genprior_std.games.penalties import zero_centred

__all__ = ["Relativistic"]


class Relativistic(Game):
    """Cross-entropy of differences: is a real sample more real than fakes are on average, and a fake less?

        L_D = E -log D(real, fakes) - E log(1 - D(fake, reals)),    D(a, others) = sigmoid(l(a) - E l(others))
        L_G = E -log D(fake, reals) - E log(1 - D(real, fakes))

    The generator learns from the real samples too: its gradient does not vanish where the critic takes its samples for
    real. With several kinds of fake, the critic's loss is the average over the kinds, the generator's the sum. Only
    differences of logits count, so that the critic's last bias gets no gradient.

    Source: Jolicoeur-Martineau, "The relativistic discriminator: a key element missing from standard GAN", 2018,
    section 4.2 (RaSGAN).
    """

    name = "relativistic"

    class Config(PartConfig):
        """Settings of the relativistic average game."""

        r1: float = Field(default=0.0, ge=0, allow_inf_nan=False)
        """gamma, the weight of the penalty gamma / 2 E |grad_x l(real)|^2 in the critic's loss; 0 is none."""

    def critic_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """L_D, a scalar in nats, averaged over the kinds of fake."""
        on_real = critic(*real)
        loss = torch.stack([_cross_entropy(on_real, critic(*fake)) for fake in fakes]).mean()
        return loss + zero_centred(critic, real, self.config.r1)

    def generator_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """L_G, a scalar in nats, summed over the kinds of fake: the critic's loss with both roles exchanged."""
        on_real = critic(*real)
        return torch.stack([_cross_entropy(critic(*fake), on_real) for fake in fakes]).sum()


def _cross_entropy(high: Tensor, low: Tensor) -> Tensor:
    """-E log sigmoid(high - E low) - E log(1 - sigmoid(low - E high)), a scalar, of logits [n] and [m]."""
    return softplus(low.mean() - high).mean() + softplus(low - high.mean()).mean()
