"""Gradients that are averaged over ranks in buckets, each on its way while the backward pass computes the next ones.

Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training" (2020), sections 3.2.2 and 3.2.3.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from genprior.engine.ranks import Message, send_sum

__all__ = ["BUCKET", "Buckets"]

BUCKET = 4 * 2**20
"""Bytes of gradients from which on a bucket is full."""

Place = tuple[str, int]
"""A module's name, and which of its parameters."""


class _Bucket(NamedTuple):
    places: list[Place]
    """In the order in which their gradients are expected."""
    dtype: torch.dtype


class Buckets:
    """The gradients of one phase, on their way to their average over all ranks.

    Parameters are put into buckets in the opposite order of their modules, which is about that of the backward pass. A
    bucket is sent once its gradients are there and all buckets before it were sent, so that messages have the same
    order on all ranks. The last bucket waits for the losses, and goes with them: a phase of small networks and one
    loss needs one message.

    The average is sum_r share_r g_r, which is the gradient of the whole batch's loss.
    """

    def __init__(self, share: float, size: int = BUCKET) -> None:
        """Expect nothing yet.

        Args:
            share: the weight of this rank, its share of the images of a batch.
            size: bytes from which on a bucket is full.
        """
        self._share, self._size = share, size
        self._buckets: list[_Bucket] = []
        self._strides: dict[Place, tuple[int, ...]] = {}
        self._settled: set[Place] = set()
        self._arrived: dict[Place, Tensor] = {}
        self._next = 0
        self._messages: list[tuple[list[Place], Message]] = []

    @property
    def sent(self) -> int:
        """How many messages are on their way, or were."""
        return len(self._messages)

    def expect(self, groups: Sequence[Mapping[str, Sequence[nn.Parameter]]]) -> None:
        """Plan the buckets: the parameters of modules by name, for each backward pass in their order."""
        full = True
        used = 0
        for group in groups:
            places = [((name, i), p) for name, parameters in group.items() for i, p in enumerate(parameters)]
            for place, parameter in reversed(places):
                if full or self._buckets[-1].dtype != parameter.dtype:
                    self._buckets.append(_Bucket([], parameter.dtype))
                    used = 0
                self._buckets[-1].places.append(place)
                self._strides[place] = torch.empty_like(parameter, device="meta").stride()  # without gaps
                used += parameter.numel() * parameter.element_size()
                full = used >= self._size

    @contextlib.contextmanager
    def listening(self, group: Mapping[str, Sequence[nn.Parameter]]) -> Iterator[None]:
        """Take the gradients of a backward pass inside the block, as they are computed, and send what is complete."""
        places: dict[nn.Parameter, list[Place]] = {}
        for name, parameters in group.items():
            for i, parameter in enumerate(parameters):
                places.setdefault(parameter, []).append((name, i))  # modules may share a parameter
        taking = [(parameter, partial(self._take, own)) for parameter, own in places.items()]
        hooks: list[RemovableHandle] = [p.register_hook(take) for p, take in taking]  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        self._settle(place for own in places.values() for place in own)  # the others have no gradient

    def _take(self, places: Sequence[Place], gradient: Tensor) -> None:
        for place in places:
            self._arrived[place] = _laid_out(gradient.detach(), self._strides[place])
        self._settle(places)

    def _settle(self, places: Iterable[Place]) -> None:
        """Send the buckets that are complete now, but for the last one; in these places nothing more arrives."""
        self._settled.update(places)
        while self._next < len(self._buckets) - 1 and self._settled.issuperset(self._buckets[self._next].places):
            present = [place for place in self._buckets[self._next].places if place in self._arrived]
            if present:
                self._send(present)
            self._next += 1

    def _send(self, places: list[Place], others: Sequence[Tensor] = ()) -> Message:
        pieces = [_flat(self._arrived[place]) for place in places] + [each.reshape(-1) for each in others]
        message = send_sum(torch.cat(pieces).mul_(self._share))
        self._messages.append((places, message))
        return message

    def averages(
        self, gradients: Mapping[str, Sequence[tuple[nn.Parameter, Tensor]]], others: Sequence[Tensor]
    ) -> tuple[dict[str, list[tuple[nn.Parameter, Tensor]]], list[Tensor]]:
        """Send what is left, and wait for all messages.

        Args:
            gradients: those of each module with its parameters, as `gradients_of` returns them.
            others: numbers [] in single precision to average with them, such as losses.

        Returns:
            The averages: of the gradients, each in its parameter's order of memory, and of the numbers.

        Raises:
            RankLost: another rank ended, or did not answer in time.
        """
        left: dict[torch.dtype, list[Place]] = {torch.float32: []} if others else {}
        for bucket in self._buckets[self._next :]:
            left.setdefault(bucket.dtype, []).extend(place for place in bucket.places if place in self._arrived)
        last = {dtype: self._send(places, others if dtype == torch.float32 else ()) for dtype, places in left.items()}
        numbers = list(last[torch.float32].wait()[-len(others) :]) if others else []
        averaged: dict[Place, Tensor] = {}
        for places, message in self._messages:
            flat, start = message.wait(), 0
            for place in places:
                like = self._arrived[place]
                averaged[place] = flat.as_strided(like.size(), like.stride(), start)
                start += like.numel()
        found: dict[str, list[tuple[nn.Parameter, Tensor]]] = {}
        for name, pairs in gradients.items():
            mine = [averaged[place] for place in sorted(averaged) if place[0] == name]
            found[name] = [(parameter, own) for (parameter, _), own in zip(pairs, mine, strict=True)]
        return found, numbers


def _laid_out(x: Tensor, strides: tuple[int, ...]) -> Tensor:
    """The tensor with these strides, which leave no gaps; a copy only if it has others."""
    if x.stride() == strides:
        return x
    return torch.empty_strided(x.size(), strides, dtype=x.dtype, device=x.device).copy_(x)


def _flat(x: Tensor) -> Tensor:
    """The numbers of a tensor without gaps, in its order of memory, [numel]."""
    return x.as_strided((x.numel(),), (1,))
