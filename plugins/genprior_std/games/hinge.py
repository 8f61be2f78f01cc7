"""The hinge game."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import relu

from genprior import Game
from genprior_std.games.penalties import LogitGameConfig, zero_centred

__all__ = ["Hinge"]


class Hinge(Game):
    """Margins for the critic, the raw output l for the generator.

        L_D = E max(0, 1 - l(real)) + w sum_fakes E max(0, 1 + l(fake)),    L_G = -sum_fakes E l(fake)

    The critic's loss is 0 for samples beyond the margin, |l| > 1 on their own side.

    Source: Lim and Ye, "Geometric GAN"; Miyato et al., "Spectral normalization for generative adversarial networks".
    """

    name = "hinge"

    class Config(LogitGameConfig):
        """Settings of the hinge game."""

    def critic_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """L_D >= 0, a scalar: how far the outputs [n] are short of 1 on real samples and above -1 on fakes."""
        on_fakes = torch.stack([relu(1 + critic(*fake)).mean() for fake in fakes]).sum()
        weight: float = self.config.fake_weight
        return relu(1 - critic(*real)).mean() + weight * on_fakes + zero_centred(critic, real, self.config.r1)

    def generator_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """L_G, a scalar: minus the output, averaged over each kind of fake, summed over the kinds."""
        return -torch.stack([critic(*fake).mean() for fake in fakes]).sum()
