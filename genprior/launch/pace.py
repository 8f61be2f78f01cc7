"""The time that training is going to take on this machine, from a few timed steps of each row."""

from __future__ import annotations

import heapq
import math
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from genprior.launch.side_by_side import Load, load_of
from genprior.parts import ImageSet
from genprior.recipe.plan import Plan
from genprior.runs.environment import cores, device_name
from genprior.runs.folder import RunFolder
from genprior.runs.jobs import Job
from genprior.runs.second_stage import trainer_of
from genprior.runs.trainer import Trainer

__all__ = ["Estimate", "Pace", "Timer", "estimate", "pace_of", "threads_of_workers", "working_threads"]

HEAVY = 1.0
"""Seconds of a step on a CPU, in proportion to one of few images, from which on no whole batch is timed.

What a step costs whatever its images, some tens of milliseconds, counts little there; of a shorter step of few images
it may be most."""

BUDGET = 0.1
"""Seconds of timed steps of a row, after first ones that are not timed."""

LONGEST_PERIOD = 6
"""Steps that are timed at least where phases are due only at some steps: all that differ, up to so many."""


class Pace(NamedTuple):
    """How fast the steps of a plan are here."""

    plan: Plan
    """A row, or the first stage of rows with a fitted prior."""
    seconds: float | None
    """Seconds of a step of a whole batch; None if it could not be timed."""
    device: torch.device
    """Where it was timed."""
    precision: str
    """`bfloat16` or `float32`."""
    bf16_speed: float | None
    """How many times as fast as fp32 bf16 was measured to be, if that decided the precision."""
    load: Load | None = None
    """What the training takes of a GPU; None on other devices, or if it could not be timed."""


@dataclass(frozen=True)
class Estimate:
    """About how long the training of jobs is going to take here; scoring is not included."""

    seconds: float
    """Seconds until the last step of the jobs that could be timed."""
    untimed: tuple[str, ...]
    """The rows that could not be timed."""
    side_by_side: int
    """How many jobs train at once."""
    device: str
    """The name of the processor or GPU."""
    precisions: tuple[tuple[str, float | None], ...]
    """The different precisions of the jobs, each with the measurement that chose it, if one did."""


class Timer(NamedTuple):
    """Measures seconds: processor time of one thread, which other work disturbs least, else the wall clock."""

    device: torch.device
    """Where the work is done."""

    def now(self) -> float:
        """The time at which the work that was given to the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        alone = self.device.type == "cpu" and torch.get_num_threads() == 1
        return time.process_time() if alone else time.perf_counter()


def pace_of(job: Job, trainer: Trainer, few: float, *, device: str, splits: dict[str, ImageSet]) -> Pace:
    """Time steps of a whole batch of a job that has taken one step on a few images.

    Args:
        job: the plan as it is going to be trained, and a folder that may be written.
        trainer: has taken the step.
        few: the seconds of that step.
        device: `auto`, `cpu` or `cuda`.
        splits: the splits of the data set that have been read.
    """
    timer = Timer(next(trainer.model.parameters()).device)
    whole: float | None
    load = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they were shown at the first step
            on_cpu = timer.device.type == "cpu"  # elsewhere a step of few images takes about as long as one of many
            if few < HEAVY and on_cpu:  # what is done once for a process is part of a first step
                began = timer.now()
                trainer.one_step()
                few = min(few, timer.now() - began)
            whole = few * max(1.0, job.plan.own_run.batch / trainer.plan.run.batch)
            if whole < HEAVY or not on_cpu:
                # Compilation and a start take longer than what they change of the steps that are timed here.
                run = job.plan.run.model_copy(update={"compile": False})
                plain = job.plan.model_copy(update={"run": run, "model": job.plan.model.for_one_step()})
                with_batch = trainer_of(replace(job, plan=plain), device=device, splits=splits)
                with_batch.prepare()
                whole = _mean_step(with_batch, timer)
                load = load_of(with_batch, whole)
    except Exception:  # noqa: BLE001 - the training reports what is wrong with a later step
        whole = None
    return Pace(job.plan, whole, timer.device, trainer.precision.name, trainer.precision.bf16_speed, load)


def _mean_step(trainer: Trainer, timer: Timer) -> float:
    """Mean seconds of a step after a first one; with CUDA graphs, after those that run without and the capture."""
    period = min(math.lcm(*(phase.every for phase in trainer.phases)), LONGEST_PERIOD)
    for _ in range(1 if trainer.graphs is None else period * (trainer.graphs.eager_steps + 1)):
        trainer.one_step()
    began, steps = timer.now(), 0
    while steps % period or not steps or timer.now() - began < BUDGET:
        trainer.one_step()
        steps += 1
    return (timer.now() - began) / steps


def estimate(jobs: Sequence[Job], paces: Sequence[Pace], workers: int, *, takes_turns: bool = False) -> Estimate | None:
    """About how long the steps of these jobs take that their run folders do not hold yet.

    Args:
        jobs: in the order in which they begin.
        paces: the paces of their plans.
        workers: how many jobs are trained at once.
        takes_turns: whether only one of them computes at a time.

    Returns:
        The estimate; None if nothing was timed, or nothing is left to train.
    """
    free = [0.0] * (1 if takes_turns else workers)  # when each worker is free
    untimed: dict[str, None] = {}
    precisions: dict[tuple[str, float | None], None] = {}
    for job in jobs:
        files = RunFolder(job.folder)
        if files.finished(job.plan):
            continue
        pace = next((pace for pace in paces if _same(pace.plan, job.plan)), None)
        if pace is None or pace.seconds is None:
            untimed[job.plan.label] = None
            continue
        precisions[pace.precision, pace.bf16_speed] = None
        left = max(0, job.plan.own_run.steps - files.checkpoint_step)
        heapq.heapreplace(free, free[0] + left * pace.seconds)
    if not precisions:
        return None
    return Estimate(max(free), tuple(untimed), workers, device_name(paces[0].device), tuple(precisions))


def _same(plan: Plan, other: Plan) -> bool:
    return plan is other or (plan.label == other.label and plan == other)


def threads_of_workers(workers: int) -> int:
    """The number of threads of each of so many workers on this machine's cores."""
    return max(1, cores() // workers)


@contextmanager
def working_threads(workers: int) -> Iterator[None]:
    """Compute inside the block with as many threads as one of several workers has."""
    before = torch.get_num_threads()
    if workers > 1:
        torch.set_num_threads(threads_of_workers(workers))
    try:
        yield
    finally:
        torch.set_num_threads(before)
