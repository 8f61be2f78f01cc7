"""Reports the progress of jobs, and stops them on Ctrl-C, SIGTERM and SIGHUP."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence

import torch

from genprior.errors import system_error
from genprior.launch.pace import Estimate
from genprior.runs.environment import cores
from genprior.runs.jobs import Job
from genprior.runs.torchrun import torchrun

__all__ = ["Reporter", "Safe", "default_jobs", "failure_of", "signals_to_stop", "stop_on_interrupt"]


class Reporter:
    """Callbacks for the progress of jobs, which do nothing; the command line has a subclass that shows progress."""

    def planned(self, jobs: Sequence[Job]) -> None:
        """Called before the first job with all jobs."""

    def estimated(self, estimate: Estimate | None) -> None:
        """Called after `planned` with the time that the jobs are going to take; None if it is not known."""

    def sharing(self, line: str) -> None:
        """Called after `estimated` with a line on how processes that train side by side share a GPU."""

    def progress(self, job: Job, step: int, rate: float) -> None:
        """Called when `step` steps of a job are done, at `rate` images/s."""

    def finished(self, job: Job, scores: dict[str, float]) -> None:
        """Called when a job is trained and scored."""

    def failed(self, job: Job, error: Exception) -> None:
        """Called when a job failed."""

    def stopping(self) -> None:
        """Called when the user stops the training; running jobs write their checkpoints."""


def default_jobs(device: str = "auto") -> int:
    """The default number of rows to train in parallel: one for each core on a CPU, one on a GPU or under torchrun."""
    if torchrun() is not None:
        return 1
    if device != "cpu" and torch.cuda.is_available():
        return 1
    return cores()


def signals_to_stop() -> list[signal.Signals]:
    """The signals that stop a training: Ctrl-C, SIGTERM (a queue's time limit) and SIGHUP (a closed terminal)."""
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    found = [signal.Signals[name] for name in names if name in signal.Signals.__members__]
    # A signal that is ignored, as SIGHUP under nohup, stays ignored.
    return [each for each in found if signal.getsignal(each) is not signal.SIG_IGN]


def failure_of(error: Exception) -> Exception:
    """The error of a failed row as the user sees it: an error of the system says what to do."""
    if isinstance(error, OSError) and error.errno is not None:
        failure = system_error(error, training=True)
        failure.__cause__ = error
        return failure
    return error


@contextlib.contextmanager
def stop_on_interrupt() -> Iterator[threading.Event]:
    """An event that Ctrl-C, SIGTERM and SIGHUP set; a second signal ends the process at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def restore() -> None:
        for each, handler in before.items():
            signal.signal(each, handler)

    def request(number: int, frame: object) -> None:
        stop.set()
        restore()

    before = {each: signal.signal(each, request) for each in signals_to_stop()}
    try:
        yield stop
    finally:
        restore()


class Safe(Reporter):
    """Passes everything on to another reporter, and nothing more once its output is gone (a closed terminal)."""

    def __init__(self, reporter: Reporter) -> None:
        """Pass on to `reporter`."""
        self._reporter: Reporter | None = reporter

    def planned(self, jobs: Sequence[Job]) -> None:
        """Pass on."""
        self._pass_on(lambda reporter: reporter.planned(jobs))

    def estimated(self, estimate: Estimate | None) -> None:
        """Pass on."""
        self._pass_on(lambda reporter: reporter.estimated(estimate))

    def sharing(self, line: str) -> None:
        """Pass on."""
        self._pass_on(lambda reporter: reporter.sharing(line))

    def progress(self, job: Job, step: int, rate: float) -> None:
        """Pass on."""
        self._pass_on(lambda reporter: reporter.progress(job, step, rate))

    def finished(self, job: Job, scores: dict[str, float]) -> None:
        """Pass on."""
        self._pass_on(lambda reporter: reporter.finished(job, scores))

    def failed(self, job: Job, error: Exception) -> None:
        """Pass on."""
        self._pass_on(lambda reporter: reporter.failed(job, error))

    def stopping(self) -> None:
        """Pass on."""
        self._pass_on(lambda reporter: reporter.stopping())

    def _pass_on(self, report: Callable[[Reporter], None]) -> None:
        if self._reporter is not None:
            try:
                report(self._reporter)
            except OSError:  # training goes on, and stops with checkpoints if it is told to
                self._reporter = None
