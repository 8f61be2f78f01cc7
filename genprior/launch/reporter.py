"""What hears of the progress of jobs, and how a user stops them."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator, Sequence

import torch

from genprior.runs.jobs import Job

__all__ = ["Reporter", "asked_to_stop", "default_jobs"]


class Reporter:
    """What hears of the progress of jobs: this one stays silent, and the command line's shows it."""

    def planned(self, jobs: Sequence[Job]) -> None:
        """These jobs will run."""

    def progress(self, job: Job, step: int, rate: float) -> None:
        """`step` steps of a job are done, at `rate` images/s."""

    def finished(self, job: Job, scores: dict[str, float]) -> None:
        """A job is trained and scored."""

    def failed(self, job: Job, error: Exception) -> None:
        """A job could not be finished."""

    def stopping(self) -> None:
        """The user asked to stop; running jobs write their checkpoints."""


def default_jobs(device: str = "auto") -> int:
    """How many rows can well run side by side: one for each core on a CPU, one on a GPU."""
    if device != "cpu" and torch.cuda.is_available():
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets; a second Ctrl-C ends the process at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
