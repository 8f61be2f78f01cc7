"""Copies of many small tensors, such as the buffers of batch normalisation, in a kernel for each dtype."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

__all__ = ["choose_into", "copies_of", "copy_into"]

SMALL = 2**16
"""Numbers of a tensor from which on a kernel for it alone costs less than another copy of it."""


def copies_of(tensors: Sequence[Tensor]) -> list[Tensor]:
    """New tensors with the same values, shapes and strides."""
    made = [torch.empty_like(each) for each in tensors]
    copy_into(made, tensors)
    return made


@torch.no_grad()
def copy_into(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Give each target the values of its source, in place, those of one dtype and device in one call."""
    for into, out_of in _by_kind(targets, sources):
        torch._foreach_copy_(into, out_of)


@torch.no_grad()
def choose_into(targets: Sequence[Tensor], choice: Tensor, sources: Sequence[Tensor]) -> None:
    """Give each target the values of its source, in place, where `choice`, a bool [] on their device, is true.

    Small ones of one dtype and device are chosen together, in a row, large ones one by one.
    """
    pairs = list(zip(targets, sources, strict=True))
    for target, source in pairs:
        if target.numel() > SMALL:
            target.copy_(torch.where(choice, source, target))
    small = [pair for pair in pairs if pair[0].numel() <= SMALL]
    for into, out_of in _by_kind([target for target, _ in small], [source for _, source in small]):
        old, new = (torch.cat([each.reshape(-1) for each in tensors]) for tensors in (into, out_of))
        parts = torch.split(torch.where(choice, new, old), [each.numel() for each in into])
        torch._foreach_copy_(into, [part.view(each.shape) for part, each in zip(parts, into, strict=True)])


def _by_kind(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> Iterable[tuple[list[Tensor], list[Tensor]]]:
    """Pairs of lists of targets and of their sources, each of one dtype on one device."""
    kinds: dict[tuple[torch.dtype, torch.device], tuple[list[Tensor], list[Tensor]]] = {}
    for target, source in zip(targets, sources, strict=True):
        into, out_of = kinds.setdefault((target.dtype, target.device), ([], []))
        into.append(target)
        out_of.append(source)
    return kinds.values()
