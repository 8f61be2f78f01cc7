"""Reports the progress of jobs, and stops them on Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator, Sequence

import torch

from genprior.runs.jobs import Job

__all__ = ["Reporter", "stop_on_interrupt", "default_jobs"]


class Reporter:
    """Callbacks for the progress of jobs, which do nothing; the command line has a subclass that shows progress."""

    def planned(self, jobs: Sequence[Job]) -> None:
        """Called before the first job with all jobs."""

    def progress(self, job: Job, step: int, rate: float) -> None:
        """Called when `step` steps of a job are done, at `rate` images/s."""

    def finished(self, job: Job, scores: dict[str, float]) -> None:
        """Called when a job is trained and scored."""

    def failed(self, job: Job, error: Exception) -> None:
        """Called when a job failed."""

    def stopping(self) -> None:
        """Called when the user stops the training; running jobs write their checkpoints."""


def default_jobs(device: str = "auto") -> int:
    """The default number of rows to train in parallel: one for each core on a CPU, one on a GPU."""
    if device != "cpu" and torch.cuda.is_available():
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def stop_on_interrupt() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets; a second Ctrl-C ends the process at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(number: int, frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, request)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
