"""Reads from the environment whether torchrun started this process, beside which others; imports no torch."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import NamedTuple

from genprior.errors import PlanError, RunError
from genprior.runs.time_limits import time_limit

__all__ = ["TIME_LIMIT", "Torchrun", "check_batches", "ranks_time_limit", "torchrun"]

TIME_LIMIT = "GENPRIOR_RANKS_TIMEOUT"
"""The environment variable with the seconds for which a process waits for the others; 600 if it is not set."""
NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Torchrun(NamedTuple):
    """The place of this process among those that share a training."""

    rank: int
    world: int
    local_rank: int
    """Its number among those of this machine, which is also that of its GPU."""
    local_world: int
    """How many there are on this machine."""


def torchrun() -> Torchrun | None:
    """The place that torchrun gave to this process; None without torchrun, and for the only process of one.

    Raises:
        RunError: the variables of torchrun are set, but are no such place.
    """
    if any(name not in os.environ for name in NEEDED):
        return None
    try:
        place = Torchrun(*(int(os.environ[name]) for name in NEEDED[:4]))
    except ValueError:
        place = Torchrun(-1, 0, 0, 0)
    if not 0 <= place.rank < place.world:
        given = ", ".join(f"{name}={os.environ[name]}" for name in NEEDED[:4])
        raise RunError(
            f"the environment says {given}, as torchrun does, but these are no numbers of processes: RANK is from 0 to "
            "WORLD_SIZE - 1. Start with torchrun, or unset these variables to train in one process"
        )
    return place if place.world > 1 else None


def ranks_time_limit() -> timedelta:
    """How long a process waits for the others.

    Raises:
        RunError: the variable is no positive number.
    """
    return timedelta(seconds=time_limit(TIME_LIMIT, 600.0, least=1.0))


def check_batches(what: str, batch: int) -> None:
    """Refuse a batch that has fewer members than there are processes.

    Args:
        what: the setting.
        batch: its value.

    Raises:
        PlanError: says how many processes there are.
    """
    place = torchrun()
    if place is not None and batch < place.world:
        raise PlanError(
            f"{what} = {batch} cannot be shared by {place.world} processes, each of which needs at least one; choose a "
            f"batch of at least {place.world}, or start at most {batch} with torchrun"
        )
