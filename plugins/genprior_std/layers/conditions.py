"""Conditions as further inputs of a network."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["with_known", "with_known_maps"]


def with_known(z: Tensor, known: Tensor) -> Tensor:
    """Codes or flat images [n, d] with the condition [n, k] appended: [n, d + k]."""
    return torch.cat([z, known], dim=1) if known.shape[1] else z


def with_known_maps(x: Tensor, known: Tensor) -> Tensor:
    """Images [n, c, h, w] with the condition [n, k] appended as k constant maps: [n, c + k, h, w]."""
    if not known.shape[1]:
        return x
    maps = known[:, :, None, None].expand(-1, -1, *x.shape[2:])
    # The constant maps have no memory format of their own, so without this a channels-last batch would lose its.
    if x.is_contiguous(memory_format=torch.channels_last):
        maps = maps.contiguous(memory_format=torch.channels_last)
    return torch.cat([x, maps], dim=1)
