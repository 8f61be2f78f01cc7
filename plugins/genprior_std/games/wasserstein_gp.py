"""The Wasserstein game with a gradient penalty."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor

from genprior import Game, PartConfig, PlanError, Sizes
from genprior_std.games.penalties import slopes

__all__ = ["WassersteinGradientPenalty"]


class WassersteinGradientPenalty(Game):
    """The critic's raw output l measures a distance, and its gradient is kept near norm 1 between real and fake.

        L_D = E l(fake) - E l(real) + w E (|grad l(x_hat)|_2 - 1)^2,    x_hat = real + a (fake - real),  a ~ U(0, 1)
        L_G = -E l(fake)

    One a for each pair of a real sample and a fake. With several kinds of fake, the critic's loss is the average of its
    losses with each kind, so that the critic cannot gain by adding a constant; the generator's is the sum over kinds.
    The real and the fake of a pair share the `known` of the real. Meant for critics without batch normalisation, since
    the penalty is on single samples, and for several critic steps per step of the generator (`critic_steps = 5`).

    Recorded: `distance`, E l(real) - E l(fake), an estimate of the Wasserstein distance up to a factor; `penalty`,
    without its weight.

    Source: Gulrajani et al., "Improved training of Wasserstein GANs", equation 3 and algorithm 1 (w = 10).
    """

    name = "wasserstein_gp"

    class Config(PartConfig):
        """Settings of the Wasserstein game."""

        weight: float = Field(default=10.0, gt=0, allow_inf_nan=False)
        """w, the weight of the gradient penalty."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Start without notes."""
        super().__init__(config, sizes)
        self._seen: dict[str, Tensor] = {}

    def critic_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """L_D, a scalar, averaged over the kinds of fake.

        Raises:
            PlanError: there are not as many fakes as real samples.
        """
        on_fakes = torch.stack([critic(*fake).mean() for fake in fakes]).mean()
        penalty = torch.stack([self._penalty(critic, real, fake) for fake in fakes]).mean()
        distance = critic(*real).mean() - on_fakes
        self._seen = {"distance": distance.detach(), "penalty": penalty.detach()}
        weight: float = self.config.weight
        return weight * penalty - distance

    def generator_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """L_G, a scalar: minus the output, averaged over each kind of fake, summed over the kinds."""
        return -torch.stack([critic(*fake).mean() for fake in fakes]).sum()

    def notes(self) -> dict[str, Tensor]:
        """`distance` and `penalty` of the critic's last loss."""
        return dict(self._seen)

    def _penalty(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor]
    ) -> Tensor:
        """E (|grad l(x_hat)|_2 - 1)^2, a scalar."""
        (x, known), x_fake = real, fake[0]
        if x.shape != x_fake.shape:
            raise PlanError(
                f"game '{self.name}' interpolates between real samples and fakes in pairs; there are "
                f"{list(x.shape)} real and {list(x_fake.shape)} fake. Make as many fakes as there are real samples"
            )
        a = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device, dtype=x.dtype)
        between = x.detach() + a * (x_fake.detach() - x.detach())
        norms: Tensor = torch.linalg.vector_norm(slopes(critic, between, known), dim=1)
        return (norms - 1).square().mean()
