"""Copies of many small tensors, such as the buffers of batch normalisation, in a kernel for each dtype."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["copies_of", "copy_into"]


def copies_of(tensors: Sequence[Tensor]) -> list[Tensor]:
    """New tensors with the same values, shapes and strides."""
    made = [torch.empty_like(each) for each in tensors]
    copy_into(made, tensors)
    return made


@torch.no_grad()
def copy_into(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Give each target the values of its source, in place, those of one dtype and device in one call."""
    kinds: dict[tuple[torch.dtype, torch.device], tuple[list[Tensor], list[Tensor]]] = {}
    for target, source in zip(targets, sources, strict=True):
        into, out_of = kinds.setdefault((target.dtype, target.device), ([], []))
        into.append(target)
        out_of.append(source)
    for into, out_of in kinds.values():
        torch._foreach_copy_(into, out_of)
