"""Processes that share a batch (ranks): their group, the sums over them, and what they tell each other.

Each rank computes the gradients of its slice of the batch. Messages of a step are collectives of `torch.distributed`,
gloo between hosts and NCCL between GPUs. What the first rank does without the others, such as scoring, may take long,
so the others wait for its next order in the store of the group, without a time limit while the first rank lives.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from genprior.errors import RankLost

__all__ = [
    "Message",
    "alone",
    "hear_order",
    "joined",
    "most_of_ranks",
    "of_first_rank",
    "order",
    "parted",
    "rank",
    "said_by_ranks",
    "send_sum",
    "sum_over_ranks",
    "world",
]

_POLL = 0.05
"""Seconds between two looks into the store."""
_STAY = 5.0
"""Seconds for which a rank that ends waits for the others to hear of it."""
_LEAVE = 20.0
"""Seconds for which a rank that is told to stop waits for the first rank's last order."""


class _Members:
    """What this process knows of its group: the store, the orders so far, and whether it computes alone."""

    store: Store | None = None
    orders = 0
    alone = 0


# ---------------------------------------------------------------------------------------------------------------------
# The group
# ---------------------------------------------------------------------------------------------------------------------


def rank() -> int:
    """The rank of this process among those that share a batch; 0 for a single process, and inside `alone`."""
    return torch.distributed.get_rank() if world() > 1 else 0


def world() -> int:
    """The number of processes that share a batch; 1 inside `alone`."""
    if _Members.alone or not torch.distributed.is_initialized():
        return 1
    return torch.distributed.get_world_size()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Inside the block this process computes as if there were no others, which take no part in it."""
    _Members.alone += 1
    try:
        yield
    finally:
        _Members.alone -= 1


@contextlib.contextmanager
def joined(device: torch.device, limit: timedelta) -> Iterator[None]:
    """Inside the block this process is a member of the group that torchrun's environment variables describe.

    Args:
        device: the device of this process.
        limit: how long it waits for the others, here and in each message.

    Raises:
        RankLost: the others did not come.
    """
    with _together():
        store, number, size = next(iter(rendezvous("env://", timeout=limit)))
        store.set_timeout(limit)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        torch.distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=PrefixStore("group", store),
            rank=number,
            world_size=size,
            timeout=limit,
        )
    _Members.store, _Members.orders = PrefixStore("genprior", store), 0
    try:
        yield
    finally:
        _Members.store = None
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


@contextlib.contextmanager
def _together() -> Iterator[None]:
    """Say of a message that failed that another process is lost.

    Raises:
        RankLost: the message says why, if another rank left its reason.
    """
    try:
        yield
    except RankLost:
        raise
    except RuntimeError as error:  # torch raises this class, or one of its own that derives from it
        why, first_told = _reason_of_others()
        lost = RankLost(
            f"{why or 'another process of this training ended, or did not answer in time'}. The same command resumes "
            "from the last checkpoint, with any number of processes"
        )
        lost.told = first_told
        raise lost from error


def parted(reason: str) -> None:
    """Leave the reason for which this rank goes, and the group, so that the others need not wait."""
    if not torch.distributed.is_initialized():  # it has left
        return
    number, others = torch.distributed.get_rank(), torch.distributed.get_world_size() - 1
    with contextlib.suppress(RuntimeError):
        if _Members.store is not None:
            _Members.store.set(f"parted/{number}", reason)
    torch.distributed.destroy_process_group()
    _stay(others)


def _stay(others: int) -> None:
    """Wait until the other ranks have heard the last words of this one, whose end may be that of the store."""
    until = time.monotonic() + _STAY
    with contextlib.suppress(RuntimeError):
        while _Members.store is not None and _Members.store.add("heard", 0) < others and time.monotonic() < until:
            time.sleep(_POLL)


def _heard() -> None:
    with contextlib.suppress(RuntimeError):
        if _Members.store is not None:
            _Members.store.add("heard", 1)


def _reason_of_others() -> tuple[str, bool]:
    """The reason that a rank left, empty without one; and whether the first rank is there, which prints errors."""
    if _Members.store is None or not torch.distributed.is_initialized():
        return "", False
    mine, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    until = time.monotonic() + (_STAY / 2 if mine else _STAY / 8)  # it may be leaving at this moment
    with contextlib.suppress(RuntimeError):  # the store is gone too
        while time.monotonic() < until:
            for other in range(size):
                if other != mine and _Members.store.check([f"parted/{other}"]):
                    text = _Members.store.get(f"parted/{other}").decode()
                    _heard()
                    return f"process {other} of {size} failed: {text.rstrip('.')}", mine != 0 and other == 0
            time.sleep(_POLL)
    return "", False


# ---------------------------------------------------------------------------------------------------------------------
# Messages of a step
# ---------------------------------------------------------------------------------------------------------------------


class Message:
    """A sum over all ranks that is on its way."""

    def __init__(self, total: Tensor, work: torch.distributed.Work | None) -> None:
        """Hold the tensor that becomes the sum, and what tells when; None if it has become it."""
        self._total, self._work = total, work

    def wait(self) -> Tensor:
        """The sum; what is computed next on its device waits for it.

        Raises:
            RankLost: another rank ended, or did not answer in time.
        """
        if self._work is not None:
            with _together():
                self._work.wait()
        return self._total


def send_sum(x: Tensor) -> Message:
    """Begin to sum x over all ranks, in place; all of them send their messages in the same order.

    Args:
        x: without gaps, of the same shape on every rank; not to be used before the message has arrived.

    Raises:
        RankLost: another rank ended.
    """
    with _together():
        return Message(x, torch.distributed.all_reduce(x, async_op=True))


def sum_over_ranks(x: Tensor, share: float) -> Tensor:
    """The sum of x over all ranks, differentiable twice.

    The gradient is that of sum_r share_r L_r, if each rank differentiates its own loss L_r and gradients are then
    averaged with these shares (`Buckets`).

    Args:
        x: of the same shape on every rank.
        share: the weight of this rank, its share of the images of a batch; the weights of all ranks sum to 1.
    """
    total: Tensor = _Sum.apply(x, share)
    return total


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, share: float) -> Tensor:
        ctx.share = share
        total = x.detach().clone(memory_format=torch.contiguous_format)
        with _together():
            torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return sum_over_ranks(gradients[0] * ctx.share, ctx.share) / ctx.share, None


def most_of_ranks(*numbers: int) -> list[int]:
    """The largest of each number over all ranks, on the host."""
    if world() == 1:
        return list(numbers)
    values = torch.tensor(numbers)
    with _together():
        torch.distributed.all_reduce(values, torch.distributed.ReduceOp.MAX)
    return [int(value) for value in values.tolist()]


def of_first_rank(value: Any) -> Any:
    """The value that the first rank passes, on every rank, so that all decide alike."""
    if world() == 1:
        return value
    values = [value]
    with _together():
        torch.distributed.broadcast_object_list(values, src=0)
    return values[0]


def said_by_ranks(text: str) -> list[str]:
    """The text of each rank, on every rank."""
    texts = [text] * world()
    if world() > 1:
        with _together():
            torch.distributed.all_gather_object(texts, text)
    return texts


# ---------------------------------------------------------------------------------------------------------------------
# Orders of the first rank
# ---------------------------------------------------------------------------------------------------------------------


def order(content: dict[str, Any]) -> None:
    """Tell the other ranks what comes next, with the key `end` that this is all; nothing if they are gone."""
    if _Members.store is not None:
        with contextlib.suppress(RuntimeError):
            _Members.store.set(f"order/{_Members.orders}", json.dumps(content))
            _Members.orders += 1
            if "end" in content and torch.distributed.is_initialized():
                _stay(torch.distributed.get_world_size() - 1)


def hear_order(stopped: Callable[[], bool]) -> dict[str, Any]:
    """The next order of the first rank, however long it takes.

    Args:
        stopped: whether this process was told to end, as torchrun does if another one has failed.

    Raises:
        RankLost: the first rank is gone, or sent no order in time after this process was told to end.
    """
    key, leave = f"order/{_Members.orders}", None
    with _together():
        if _Members.store is None:
            raise RuntimeError("no group")
        while not _Members.store.check([key]):
            if leave is None and stopped():
                leave = time.monotonic() + _LEAVE
            if leave is not None and time.monotonic() > leave:
                raise RuntimeError("no order")
            time.sleep(_POLL)
        _Members.orders += 1
        content: dict[str, Any] = json.loads(_Members.store.get(key))
        if "end" in content:
            _heard()
        return content
