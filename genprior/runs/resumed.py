"""The hardware that an interrupted run had, and its number of threads for the rest of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from genprior.engine.ranks import world
from genprior.errors import RunError
from genprior.runs.environment import cores
from genprior.runs.folder import RunFolder

__all__ = ["recorded_hardware", "same_threads"]


def recorded_hardware(files: RunFolder) -> dict[str, Any]:
    """The hardware in the run.json of a run; empty if it has none, or if it is damaged: training writes it anew."""
    try:
        facts = files.facts()
    except RunError:
        return {}
    return dict(facts.get("hardware", {})) if facts is not None else {}


@contextlib.contextmanager
def same_threads(files: RunFolder, device: torch.device) -> Iterator[None]:
    """Compute with as many threads as the interrupted run, where there are as many cores.

    Their number depends on how many rows are trained at once, and sums of other threads round differently. Processes
    that share a training keep the threads that torchrun gave them.
    """
    before = torch.get_num_threads()
    threads = recorded_hardware(files).get("threads")
    if world() == 1 and device.type == "cpu" and type(threads) is int and 1 <= threads <= max(cores(), before):
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
