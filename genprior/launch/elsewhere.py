"""Trains jobs by a launcher, on other machines: starts their tasks in order, follows them, and stops them."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import threading
import time
import uuid
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from genprior.errors import GenpriorError, GenpriorWarning, Interrupted, LaunchError, PartFailed, in_a_sentence
from genprior.launch.launchers import LaunchedTask, Launcher
from genprior.launch.order import next_job
from genprior.launch.reporter import Reporter, failure_of, stop_on_interrupt
from genprior.launch.tasks import TaskFolder, error_of, warning_of
from genprior.runs.jobs import Job

__all__ = ["TASKS", "elsewhere", "opened"]

TASKS = ".tasks"
"""The folder, beside those of the rows, of the tasks of launchers."""
AGAIN = "give the same command again to resume it"
EVERY = 0.2
"""Seconds between two looks at all tasks; of many tasks more."""
GRACE = 5.0
"""Seconds in which the last message of a task that has ended may still arrive over a network file system."""
LOGS = 30.0
"""Seconds in which tasks that were answered may still write their logs."""


@contextlib.contextmanager
def opened(launcher: Launcher, device: str) -> Iterator[Launcher]:
    """Reach a launcher's scheduler for the time of the block.

    Raises:
        LaunchError: it cannot be reached, or lacks what is requested.
        PartFailed: the launcher raised another exception.
    """
    with _naming(launcher):
        launcher.open(device)
    try:
        yield launcher
    finally:
        with _naming(launcher):
            launcher.close()


def elsewhere(
    jobs: Sequence[Job],
    limit: int | None,
    device: str,
    reporter: Reporter,
    launcher: Launcher,
    folder: Path,
    *,
    last_good: bool = False,
) -> list[Exception]:
    """Train jobs by an open launcher.

    A task that is lost fails its row, and the other rows go on.

    Args:
        jobs: first stages come before the rows that build on them.
        limit: how many tasks there are at most at a time; None hands all to the scheduler at once.
        device: the device of the tasks.
        reporter: receives the progress.
        launcher: starts the tasks.
        folder: the table's folder, in which folders of tasks are made; those of failed tasks stay, with their logs.
        last_good: resume from undamaged checkpoints.

    Returns:
        The errors of the failed jobs; an `Interrupted` comes first if the user stopped them.

    Raises:
        LaunchError: the launcher refused the first task; no other was started, and nothing was written.
    """
    following = _Following(launcher, limit, device, reporter, folder / TASKS / uuid.uuid4().hex[:8], last_good)
    with stop_on_interrupt() as stop:
        try:
            return following.train(jobs, stop)
        except BaseException:  # a second Ctrl-C: end at once
            following.cancel()
            raise
        finally:
            following.tidy()


@dataclasses.dataclass(eq=False)
class _Running:
    """A task that waits or runs."""

    job: Job
    files: TaskFolder
    task: LaunchedTask
    begun: bool = False
    ended: tuple[float, str] | None = None
    """When it was first seen that the task has ended, and how."""


class _Following:
    """The tasks, and what became of their jobs."""

    def __init__(
        self, launcher: Launcher, limit: int | None, device: str, reporter: Reporter, folder: Path, last_good: bool
    ) -> None:
        """Start without tasks; `folder` will hold those of the tasks."""
        self._launcher = launcher
        self._limit = limit
        self._device = device
        self._reporter = reporter
        self._folder = folder
        self._last_good = last_good
        self._tasks: list[_Running] = []
        self._done: list[_Running] = []
        """Tasks that were answered; their machines may still write logs."""
        self._failures: list[Exception] = []
        self._started = 0
        self._stopping = False
        self._warned: set[tuple[Any, ...]] = set()

    def train(self, jobs: Sequence[Job], stop: threading.Event) -> list[Exception]:
        """Train all jobs, or stop when `stop` is set; returns the errors."""
        waiting = deque(jobs)
        while waiting or self._tasks:
            if stop.is_set() and not self._stopping:
                self._stop(waiting)
            while not stop.is_set() and (self._limit is None or len(self._tasks) < self._limit):
                job = next_job(waiting, {each.job.folder for each in self._tasks})
                if job is None:
                    break
                self._start(job)
            for task in list(self._tasks):
                self._follow(task)
            if self._tasks:
                pause = EVERY + 0.02 * len(self._tasks)
                # Once stop is set, waiting for it would return at once.
                (time.sleep if stop.is_set() else stop.wait)(pause)
        return self._failures

    def cancel(self) -> None:
        """End all tasks at once."""
        for each in self._tasks:
            with contextlib.suppress(Exception):  # the others are to be ended too
                each.task.cancel()

    def tidy(self) -> None:
        """Remove the folders of the tasks that are done, as soon as nothing is written there any more."""
        until = time.monotonic() + LOGS
        for each in self._done:
            with contextlib.suppress(Exception):  # all jobs have been answered
                while each.task.ended() is None and time.monotonic() < until:
                    time.sleep(0.1)
            shutil.rmtree(each.files.path, ignore_errors=True)
        for folder in (self._folder, self._folder.parent, self._folder.parent.parent):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _stop(self, waiting: deque[Job]) -> None:
        self._stopping = True
        self._reporter.stopping()
        self._failures.insert(0, Interrupted("stopped"))
        waiting.clear()
        for each in list(self._tasks):
            each.files.request_stop()
            self._hear(each)
            if not each.begun and each in self._tasks:
                with _naming(self._launcher):
                    each.task.cancel()
                self._tasks.remove(each)
                shutil.rmtree(each.files.path, ignore_errors=True)

    def _start(self, job: Job) -> None:
        path = (self._folder / str(self._started)).absolute()
        files = TaskFolder(path)
        try:
            files.create(job, device=self._device, threads=self._launcher.threads, last_good=self._last_good)
            with _naming(self._launcher):
                task = self._launcher.start(path, job.name)
        except (GenpriorError, OSError) as error:
            shutil.rmtree(path, ignore_errors=True)
            if not self._started:
                raise
            self._failed(job, error)
            return
        self._started += 1
        self._tasks.append(_Running(job, files, task))

    def _follow(self, task: _Running) -> None:
        """Receive what a task tells, and see whether it has ended."""
        if task.ended is None:
            # Before its messages are read: the last one of a task that has ended is there.
            with _naming(self._launcher):
                how = task.task.ended()
            task.ended = None if how is None else (time.monotonic(), how)
        self._hear(task)
        if task in self._tasks and task.ended is not None and time.monotonic() - task.ended[0] > GRACE:
            self._tasks.remove(task)
            label, how = task.job.plan.label, task.ended[1]
            text = f"row '{label}': its task {how}; {AGAIN}. Its files are in {task.files.path}"
            failure = LaunchError(text)
            failure.exit_code = 1
            self._failed(task.job, failure)

    def _hear(self, task: _Running) -> None:
        label = task.job.plan.label
        for message in task.files.messages():
            kind = message["kind"]
            if kind == "begun":
                if task.begun:
                    text = f"row '{label}': its task was lost, and resumes on {message['machine']}"
                    warnings.warn(GenpriorWarning(text), stacklevel=1)
                task.begun = True
            elif kind == "progress":
                self._reporter.progress(task.job, message["step"], message["rate"])
            elif kind == "warning":
                shown = (message["text"], message["category"], message["file"], message["line"])
                if shown not in self._warned:
                    self._warned.add(shown)
                    warning = warning_of(message)
                    warnings.showwarning(warning, type(warning), message["file"], message["line"])
            elif kind == "finished":
                self._release(task)
                self._reporter.finished(task.job, message["scores"])
            elif kind == "failed":
                self._answered(task, error_of(message), message["trace"])

    def _answered(self, task: _Running, error: GenpriorError, trace: str) -> None:
        """A task failed, or was stopped."""
        if isinstance(error, Interrupted) and self._stopping:
            self._release(task)
            self._failures.insert(0, error)
            return
        error.__cause__ = RuntimeError(f"in the task of the row:\n{trace}")
        self._tasks.remove(task)
        self._failed(task.job, error)

    def _release(self, task: _Running) -> None:
        self._tasks.remove(task)
        self._done.append(task)

    def _failed(self, job: Job, error: Exception) -> None:
        failure = failure_of(error)
        self._reporter.failed(job, failure)
        self._failures.append(failure)


@contextlib.contextmanager
def _naming(launcher: Launcher) -> Iterator[None]:
    """Let an exception of a launcher name it.

    Raises:
        PartFailed: the block raised another exception than one of genprior.
    """
    try:
        yield
    except GenpriorError:
        raise
    except Exception as error:
        text = f"launcher '{launcher.name}' raised {type(error).__name__}: {in_a_sentence(error)}"
        raise PartFailed(text) from error
