"""The warm-up of a weight: from 0 linearly to where it stays."""

from __future__ import annotations

from torch import Tensor

__all__ = ["warmed_up"]


def warmed_up(weight: float, steps: int, seen: Tensor, like: Tensor) -> Tensor:
    """The weight in step t of a linear warm-up, weight min(1, t / steps), a scalar.

    Args:
        weight: where it ends; with `steps` = 0 it is there from the first step.
        steps: how long it rises.
        seen: t, the number of steps that have begun, this one included.
        like: a tensor of the right dtype and device.
    """
    beta = like.new_full((), weight)
    if not steps:
        return beta
    risen: Tensor = seen.to(like.dtype) / steps
    return beta * risen.clamp(max=1)
