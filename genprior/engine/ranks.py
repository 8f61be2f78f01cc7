"""Rank and world size of this process, and gradient averages, through torch.distributed."""

from __future__ import annotations

import torch
import torch.distributed
from torch import Tensor

__all__ = ["average_over_ranks", "of_first_rank", "rank", "world"]


def rank() -> int:
    """The rank of this process among those that share a batch; 0 for a single process."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def world() -> int:
    """The number of processes that share a batch."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def average_over_ranks(gradients: list[Tensor]) -> None:
    """Average gradients in place over all ranks of `torch.distributed`, in one message for each dtype."""
    world = torch.distributed.get_world_size()
    # In the order of the list: a set of dtypes has a different order in each process, and ranks would deadlock.
    for dtype in dict.fromkeys(g.dtype for g in gradients):
        mine = [g for g in gradients if g.dtype == dtype]
        flat = torch.cat([g.reshape(-1) for g in mine]) / world
        torch.distributed.all_reduce(flat)
        for g, piece in zip(mine, torch.split(flat, [g.numel() for g in mine]), strict=True):
            g.copy_(piece.view_as(g))


def of_first_rank(value: float) -> float:
    """The value that the first rank passes, on every rank, so that all decide alike."""
    if not torch.distributed.is_initialized():
        return value
    values = [value]
    torch.distributed.broadcast_object_list(values, src=0)
    return values[0]
