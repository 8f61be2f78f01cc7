"""The gate of an adversarial game: a critic or generator that is far ahead skips its update."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn.functional import softplus

__all__ = ["costs", "moves"]

Sample = tuple[Tensor, Tensor]


def costs(critic: Callable[[Tensor, Tensor], Tensor], real: Sample, fakes: Iterable[Sample]) -> tuple[Tensor, Tensor]:
    """The critic's mean cross-entropies in nats, on real samples and on all fakes, as constants."""
    on_real = softplus(-critic(*real).detach()).mean()
    on_fakes = torch.cat([softplus(critic(*fake).detach()) for fake in fakes]).mean()
    return on_real, on_fakes


def moves(on_real: Tensor, on_fakes: Tensor, equilibrium: float, margin: float) -> tuple[Tensor, Tensor]:
    """Whether to update the critic and whether to update the generator, each 0 or 1, from the critic's costs.

    The critic is ahead where a cost is below equilibrium - margin, the generator where one is above equilibrium +
    margin. The one ahead is not updated; if both are, both are updated.

    Source: the authors' code of Larsen et al., Autoencoding beyond pixels using a learned similarity metric, 2015.
    """
    low, high = equilibrium - margin, equilibrium + margin
    critic_ahead = (on_real < low) | (on_fakes < low)
    generator_ahead = (on_real > high) | (on_fakes > high)
    both = critic_ahead & generator_ahead
    # Tensors, and no `if`: the host does not wait for the costs.
    return (~critic_ahead | both).to(on_real.dtype), (~generator_ahead | both).to(on_real.dtype)
