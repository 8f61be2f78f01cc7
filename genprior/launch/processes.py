"""Trains jobs in parallel, in processes of this machine.

A worker receives one job at a time through its pipe and answers with messages: its progress and warnings, then the
scores or the error. Anything that arrives while it trains stops it with a checkpoint: the request to stop, and the end
of the pipe when the parent is gone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from genprior.errors import Interrupted
from genprior.launch.mps import Sharing
from genprior.launch.order import next_job
from genprior.launch.pace import threads_of_workers
from genprior.launch.reporter import Reporter, failure_of, signals_to_stop, stop_on_interrupt
from genprior.launch.sent import known_category, row_failure, sent, train_sent
from genprior.runs.jobs import Job

__all__ = ["in_processes"]

AGAIN = "give the same command again to resume it"

ORPHANED = 60.0
"""Seconds that a worker without a parent has for a step and a checkpoint, until it ends whatever it does."""


# ---------------------------------------------------------------------------------------------------------------------
# In a worker
# ---------------------------------------------------------------------------------------------------------------------


def _work(
    pipe: connection.Connection,
    threads: int,
    device: str,
    last_good: bool,
    lifeline: connection.Connection | None,  # noqa: ARG001 - held until this process ends
) -> None:
    """Train the jobs that arrive, one after another, until the pipe ends or None arrives."""
    stop = _stop_of_worker()
    end_after_parent()
    torch.set_num_threads(threads)
    warnings.showwarning = _to_parent(pipe)
    with contextlib.suppress(EOFError, OSError):  # the parent is gone: the checkpoint is written, nobody wants more
        while not stop.is_set() and (job := pipe.recv()) is not None:
            pipe.send(_trained(job, device, pipe, stop, last_good))


def end_after_parent(seconds: float = ORPHANED) -> None:
    """End this process so many seconds after its parent.

    A training stops by itself, but a score may take an hour, and nobody waits for it. Files are written under another
    name first, so that none is left half written.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        time.sleep(seconds)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _stop_of_worker() -> threading.Event:
    """An event that a SIGTERM or SIGHUP to this process sets. Of Ctrl-C the parent tells, which hears it too."""
    stop = threading.Event()
    told = signals_to_stop()
    for each in told:
        signal.signal(each, signal.SIG_IGN if each is signal.SIGINT else lambda number, frame: stop.set())
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, told)
    return stop


def _trained(
    job: dict[str, Any], device: str, pipe: connection.Connection, stop: threading.Event, last_good: bool
) -> Any:
    """The answer to one job."""
    try:
        scores = train_sent(
            job,
            device=device,
            stop=lambda: stop.is_set() or pipe.poll(),
            progress=lambda step, rate: _tell(pipe, ("progress", step, rate)),
            last_good=last_good,
        )
        return "finished", scores
    except Exception as error:  # even a bug of a plugin fails only its row
        return "failed", _portable(error), traceback.format_exc()


def _to_parent(pipe: connection.Connection) -> Callable[..., None]:
    """A `warnings.showwarning` that lets the parent show the warning, as it shows its own."""

    def show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
        _tell(pipe, ("warning", str(message), known_category(category), filename, lineno))

    return show


def _tell(pipe: connection.Connection, message: Any) -> None:
    with contextlib.suppress(OSError):  # the parent is gone; the trainer stops after this step
        pipe.send(message)


def _portable(error: Exception) -> Exception:
    """The error, or its text if it cannot be sent to another process."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - its own bytes, never a file
    except Exception:  # an exception class of a plugin may raise anything here
        return row_failure(f"{type(error).__name__}: {error}")
    return error


# ---------------------------------------------------------------------------------------------------------------------
# In the parent
# ---------------------------------------------------------------------------------------------------------------------


def in_processes(
    jobs: Sequence[Job], workers: int, shared: Sharing, reporter: Reporter, *, last_good: bool = False
) -> list[Exception]:
    """Train jobs in worker processes, as many at a time as there are workers.

    A worker that is lost (killed for want of memory, for example) fails its row, and the other rows go on.

    Args:
        jobs: first stages come before the rows that build on them.
        workers: how many there are at most.
        shared: the device of all workers, and what they need to use it together.
        reporter: receives the progress.
        last_good: resume from undamaged checkpoints.

    Returns:
        The errors of the failed jobs; an `Interrupted` comes first if the user stopped them.
    """
    team = _Team(workers, shared, reporter, last_good)
    with stop_on_interrupt() as stop:
        try:
            return team.train(jobs, stop)
        except BaseException:  # a second Ctrl-C: end at once
            team.kill()
            raise


@dataclasses.dataclass(eq=False)
class _Worker:
    """A worker process, the parent's end of its pipe, and its job."""

    process: BaseProcess
    pipe: connection.Connection
    job: Job


class _Team:
    """The workers, and what became of their jobs."""

    def __init__(self, size: int, shared: Sharing, reporter: Reporter, last_good: bool) -> None:
        """Start without workers; `size` is how many there are at most."""
        self._size = size
        self._shared = shared
        self._reporter = reporter
        self._last_good = last_good
        self._threads = threads_of_workers(size)
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._failures: list[Exception] = []
        self._stopping = False
        self._stop = threading.Event()
        self._warned: set[tuple[Any, ...]] = set()
        # Started later, it would unblock the signals between the starts of two workers.
        resource_tracker.ensure_running()

    def train(self, jobs: Sequence[Job], stop: threading.Event) -> list[Exception]:
        """Train all jobs, or stop when `stop` is set; returns the errors."""
        waiting = deque(jobs)
        self._stop = stop
        while waiting or self._workers:
            if stop.is_set() and not self._stopping:
                self._stopping = True
                self._reporter.stopping()
                self._failures.insert(0, Interrupted("stopped"))
                waiting.clear()
                for worker in self._workers:
                    _tell(worker.pipe, None)
            while len(self._workers) < self._size and (job := self._next(waiting)) is not None:
                self._start(job)
            ready = connection.wait([worker.pipe for worker in self._workers], timeout=0.1)
            for worker in [each for each in self._workers if each.pipe in ready]:
                self._hear(worker, waiting)
        return self._failures

    def kill(self) -> None:
        """End all workers at once."""
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()

    def _start(self, job: Job) -> None:
        pipe, other = self._context.Pipe()
        shared = self._shared
        given = (other, self._threads, shared.device, self._last_good, shared.lifeline)
        process = self._context.Process(target=_work, args=given)
        # Ctrl-C during the imports of a worker would end it with a traceback.
        with _signals_blocked(), _environment(shared.variables):
            process.start()
        other.close()  # so that the end of the process is the end of the pipe
        self._workers.append(_Worker(process, pipe, job))
        _tell(pipe, sent(job))

    def _hear(self, worker: _Worker, waiting: deque[Job]) -> None:
        """Receive one message of a worker; after its last one, give it another job or let it go."""
        try:
            kind, *content = worker.pipe.recv()
        except (EOFError, OSError):
            self._release(worker)
            code = worker.process.exitcode
            how = f"was killed ({signal.Signals(-code).name})" if code and code < 0 else f"ended with exit code {code}"
            self._failed(worker.job, row_failure(f"row '{worker.job.plan.label}': its process {how}; {AGAIN}"))
            return
        if kind == "progress":
            self._reporter.progress(worker.job, *content)
            return
        if kind == "warning":
            if tuple(content) not in self._warned:
                self._warned.add(tuple(content))
                text, category, filename, lineno = content
                warnings.showwarning(category(text), category, filename, lineno)
            return
        if kind == "finished":
            self._reporter.finished(worker.job, *content)
        elif not isinstance(content[0], Interrupted):
            error, trace = content
            error.__cause__ = RuntimeError(f"in the process of the row:\n{trace}")
            self._failed(worker.job, error)
        elif self._stopping:
            self._failures.insert(0, content[0])
        else:
            self._failed(worker.job, row_failure(f"{content[0]}: its process was told to stop; {AGAIN}"))
            self._release(worker)
            return
        job = self._next(waiting, after=worker)
        if job is not None:
            worker.job = job
            _tell(worker.pipe, sent(worker.job))
        else:
            _tell(worker.pipe, None)
            self._release(worker)

    def _next(self, waiting: deque[Job], after: _Worker | None = None) -> Job | None:
        """Take the first job whose first stage no other worker trains; None if there is none now, or none may begin.

        Args:
            waiting: the jobs that are not begun; first stages come before the rows that build on them.
            after: the worker whose job has just ended.
        """
        if self._stop.is_set():  # the user may stop while a worker becomes free
            return None
        return next_job(waiting, {worker.job.folder for worker in self._workers if worker is not after})

    def _release(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.process.join()
        worker.pipe.close()

    def _failed(self, job: Job, error: Exception) -> None:
        failure = failure_of(error)
        self._reporter.failed(job, failure)
        self._failures.append(failure)


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block the signals that stop a training; processes that are started inside the block keep them blocked."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals_to_stop())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables inside the block, for processes that are started there."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
