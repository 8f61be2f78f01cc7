"""How many rows train side by side on one GPU: as many as fit its memory and are needed to keep it busy."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from genprior.runs.environment import cores
from genprior.runs.trainer import Trainer

__all__ = ["Load", "Operations", "load_of", "rows_at_once", "rows_on"]

BUSY = 0.5
"""The sum of the rows' shares of the peak of a matrix product, each alone, up to which more rows are trained at once.

On an H200 row A+B+C of Table 3 has 0.07 alone; by MPS four of them train 1.7 times as fast as one, eight 2.0 times.
"""
PROCESS = 600 * 2**20
"""Bytes of GPU memory that a process takes beside its tensors: the CUDA context and the libraries' workspaces; assumed,
not measured."""
SPARE = 0.1
"""The part of the free memory that is left for scoring and for fragments."""


class Load(NamedTuple):
    """What a training takes of a GPU."""

    memory: int
    """The largest number of bytes that tensors take during a step."""
    share: float
    """Floating-point operations a second, by those of a large matrix product on this GPU."""


def rows_at_once(loads: Sequence[Load], free: int, processors: int) -> int:
    """The number of rows to train side by side, at least 1.

    The largest k <= len(loads), processors with sum of the k largest (memory + PROCESS) <= (1 - SPARE) free, and no
    more than ceil(BUSY / mean share), beyond which rows only wait for each other.

    Args:
        loads: of all rows that are to be trained.
        free: bytes of free memory of the GPU.
        processors: cores of the machine; each row needs one to launch its kernels.
    """
    most, room = 0, (1 - SPARE) * free
    for memory in sorted((load.memory for load in loads), reverse=True):
        room -= memory + PROCESS
        if room < 0:
            break
        most += 1
    share = sum(load.share for load in loads) / len(loads) if loads else 0.0
    enough = math.ceil(min(BUSY / share, len(loads))) if share > 0 else len(loads)
    return max(1, min(most, enough, processors))


def load_of(trainer: Trainer, seconds: float) -> Load | None:
    """Measure what a training on CUDA takes; None on other devices.

    Args:
        trainer: has taken a step of a whole batch; takes another one, and is of no further use.
        seconds: of a step.
    """
    device = next(trainer.model.parameters()).device
    if device.type != "cuda":
        return None
    trainer.graphs = None  # operations are counted as they are called, and a replayed step calls none
    torch.cuda.reset_peak_memory_stats(device)
    with Operations() as operations:  # type: ignore[no-untyped-call]
        trainer.one_step()
    return Load(torch.cuda.max_memory_allocated(device), operations.total / seconds / _peak(device))


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the floating-point operations of convolutions and matrix products inside a `with` block.

    As `FlopCounterMode`, whose hooks on modules fail where a phase takes a gradient of its own.
    """

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call an operation, and add its count."""
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


@functools.cache
def _peak(device: torch.device) -> float:
    """Floating-point operations a second of a bf16 matrix product."""
    n, times = 4096, 10
    a = torch.randn(n, n, device=device, dtype=torch.bfloat16)
    a @ a
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    begin.record()
    for _ in range(times):
        a @ a
    end.record()
    end.synchronize()
    return float(times * 2 * n**3 / (begin.elapsed_time(end) / 1000))


def rows_on(device: torch.device, loads: Sequence[Load | None]) -> int:
    """The number of rows to train side by side on a device whose rows were measured; one if any could not be."""
    known = [load for load in loads if load is not None]
    if device.type != "cuda" or len(known) < len(loads):
        return 1
    torch.cuda.empty_cache()  # what this process keeps of freed tensors is free for the rows
    return rows_at_once(known, torch.cuda.mem_get_info(device)[0], cores())
