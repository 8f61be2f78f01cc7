"""A ring buffer: new rows overwrite the oldest ones."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["filled", "overwrite_oldest"]


@torch.no_grad()
def overwrite_oldest(held: Tensor, new: Tensor, seen: Tensor) -> int:
    """Write the rows of `new` [n, ...] over the oldest of `held` [m, ...]; of more than m rows, the last m.

    Args:
        held: changed in place.
        new: the new rows, cast to the dtype of `held`.
        seen: how many rows were written before.

    Returns:
        How many rows were written.
    """
    new = new[-len(held) :]
    rows = (seen + torch.arange(len(new), device=new.device)) % len(held)
    held.index_copy_(0, rows, new.to(held.dtype))
    return len(new)


def filled(held: Tensor, seen: Tensor) -> Tensor:
    """1 for each row of `held` [m, ...] that has been written, of `seen` rows in all, else 0: [m]."""
    return (torch.arange(len(held), device=held.device) < seen).to(held.dtype)
