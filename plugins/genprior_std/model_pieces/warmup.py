"""Linear warm-up of a weight, from 0 to its final value."""

from __future__ import annotations

from torch import Tensor

__all__ = ["warmed_up"]


def warmed_up(weight: float, steps: int, seen: Tensor, like: Tensor) -> Tensor:
    """The weight in step t of a linear warm-up, weight min(1, t / steps), a scalar.

    Args:
        weight: the final value, used from the first step with `steps` = 0.
        steps: length of the warm-up.
        seen: t, the number of steps so far, including this one.
        like: a tensor of the right dtype and device.
    """
    beta = like.new_full((), weight)
    if not steps:
        return beta
    risen: Tensor = seen.to(like.dtype) / steps
    return beta * risen.clamp(max=1)
