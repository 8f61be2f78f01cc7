"""The boundary equilibrium game."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor

from genprior import Game, PartConfig, Sizes

__all__ = ["BoundaryEquilibrium"]


class BoundaryEquilibrium(Game):
    """The critic is an autoencoder, which learns to reconstruct real images and to fail on fakes.

        L(v) = mean |v - AE(v)| = -l(v),    l the output of critic 'autoencoder'
        L_D = L(x) - k L(G),    L_G = L(G)
        k <- clip(k + lambda (gamma L(x) - L(G)), 0, 1),    k_0 = 0
        M = L(x) + |gamma L(x) - L(G)|

    k keeps the two errors at the ratio gamma. It is a buffer, saved with the model, and is updated after the critic's
    phase, from the fakes that the critic saw. Several kinds of fake share k: L(G) is averaged over them for the critic
    and summed for the generator.

    Recorded: `k`, the weight in the critic's loss, and `M`, which falls as training converges.

    Source: Berthelot, Schumm, Metz, "BEGAN: Boundary equilibrium generative adversarial networks", section 3.4.
    """

    name = "began"
    k: Tensor

    class Config(PartConfig):
        """Settings of the boundary equilibrium game."""

        gamma: float = Field(default=0.5, gt=0, le=1)
        """The ratio of L(G) to L(x) that k keeps; lower gives sharper and less diverse images."""
        rate: float = Field(default=0.001, gt=0, le=1)
        """lambda, the learning rate of k."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Start with k = 0."""
        super().__init__(config, sizes)
        self.register_buffer("k", torch.zeros(()))
        self._balance: Tensor | None = None
        self._seen: dict[str, Tensor] = {}

    def critic_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """L_D, a scalar; stores the errors that update k."""
        on_real = -critic(*real).mean()
        on_fakes = -torch.stack([critic(*fake).mean() for fake in fakes]).mean()
        self._balance = (self.config.gamma * on_real - on_fakes).detach()
        # A copy, because k is updated before the notes are read.
        self._seen = {"k": self.k.clone(), "M": on_real.detach() + self._balance.abs()}
        return on_real - self.k * on_fakes

    def generator_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """L_G, a scalar: the critic's error, averaged over each kind of fake, summed over the kinds."""
        return -torch.stack([critic(*fake).mean() for fake in fakes]).sum()

    def advance(self) -> Callable[[], None]:
        """The update of k from the critic's last loss; it does nothing before the first loss."""
        return self._update_k

    def notes(self) -> dict[str, Tensor]:
        """`k` and `M` of the critic's last loss."""
        return dict(self._seen)

    @torch.no_grad()
    def _update_k(self) -> None:
        if self._balance is not None:
            self.k.add_(self.config.rate * self._balance).clamp_(0, 1)
