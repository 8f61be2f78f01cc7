"""The order in which jobs may start: a first stage is trained before the rows that build on it."""

from __future__ import annotations

from collections import deque
from collections.abc import Set
from pathlib import Path

from genprior.runs.jobs import Job

__all__ = ["next_job"]


def next_job(waiting: deque[Job], training: Set[Path]) -> Job | None:
    """Take the first job whose first stage is neither waiting nor being trained; None if there is none now.

    Args:
        waiting: the jobs that are not begun; first stages come before the rows that build on them.
        training: the run folders of the jobs that are being trained.
    """
    for job in waiting:
        if job.first is None or (job.first not in training and all(job.first != each.folder for each in waiting)):
            waiting.remove(job)
            return job
    return None
