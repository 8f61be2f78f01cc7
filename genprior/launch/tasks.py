"""Tasks: jobs that another machine trains, and the folder by which it and this process tell each other of a job.

The folder is on the file system that all machines share::

    task.json        the job: plan, seed, run folder
    messages.jsonl   what the task tells: that it began, its progress and warnings, then its scores or its error
    control          empty, or the request to stop

Files are opened anew for each read, which is when a network file system asks for what is new.
"""

from __future__ import annotations

import builtins
import contextlib
import json
import os
import platform
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from genprior import errors
from genprior.errors import GenpriorError, GenpriorWarning, Interrupted, LaunchError
from genprior.launch.reporter import failure_of
from genprior.launch.sent import known_category, row_failure, sent, train_sent
from genprior.runs.jobs import Job

__all__ = ["TaskFolder", "error_of", "run_task", "warning_of"]

STOP = "stop"
EVERY = 1.0
"""Seconds between two messages of progress, and between two looks at `control`."""


class TaskFolder:
    """The folder of a task, on both of its sides."""

    def __init__(self, path: Path) -> None:
        """The folder at `path`, from the first message on."""
        self.path = path
        self._read = 0

    def create(self, job: Job, *, device: str, threads: int, last_good: bool) -> None:
        """Write the folder for a job."""
        self.path.mkdir(parents=True)
        task = {
            **sent(job),
            "working_directory": os.getcwd(),
            "device": device,
            "threads": threads,
            "last_good": last_good,
        }
        (self.path / "control").touch()
        (self.path / "messages.jsonl").touch()
        (self.path / "task.json").write_text(json.dumps(task, indent=2), encoding="utf-8")

    def task(self) -> dict[str, Any]:
        """The content of task.json.

        Raises:
            LaunchError: this machine does not have the file.
        """
        try:
            task: dict[str, Any] = json.loads((self.path / "task.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise LaunchError(
                f"{self.path / 'task.json'} is not there on the machine {platform.node()}: the folder of the runs must "
                "be on a file system that all machines share, under the same path. Give such an --out"
            ) from None
        return task

    def tell(self, kind: str, **content: Any) -> None:
        """Append a message."""
        # A process that was killed may have left half a line.
        line = "\n" + json.dumps({"kind": kind, **content}) + "\n"
        with (self.path / "messages.jsonl").open("a", encoding="utf-8") as file:
            file.write(line)

    def messages(self) -> Iterator[dict[str, Any]]:
        """The messages since the last call."""
        with (self.path / "messages.jsonl").open("rb") as file:
            file.seek(self._read)
            complete, newline, _ = file.read().rpartition(b"\n")
        self._read += len(complete) + len(newline)
        for line in complete.splitlines():
            with contextlib.suppress(ValueError):  # half a line
                message = json.loads(line)
                if isinstance(message, dict):
                    yield message

    def request_stop(self) -> None:
        """Let the task write a checkpoint and stop."""
        (self.path / "control").write_text(STOP, encoding="utf-8")

    def is_to_stop(self) -> bool:
        """Whether the task is to stop; it is too where its folder has been removed."""
        try:
            return (self.path / "control").read_text(encoding="utf-8") == STOP
        except FileNotFoundError:
            return True


# ---------------------------------------------------------------------------------------------------------------------
# On the other machine
# ---------------------------------------------------------------------------------------------------------------------


def run_task(folder: str | Path, stop: Callable[[], bool] = lambda: False) -> None:
    """Train the job of a task's folder: what a launcher lets another machine call.

    What becomes of it is told in the folder, errors of the job too. Called again with the same folder, as after its
    machine was lost, it resumes.

    Args:
        folder: the task's folder.
        stop: called after each step; True stops the training with a checkpoint, as the user does, but tells nothing:
            the task is to be called again, as after the time limit of a queue.

    Raises:
        LaunchError: this machine does not have the folder.
    """
    files = TaskFolder(Path(folder))
    task = files.task()
    files.tell("begun", machine=platform.node(), process=os.getpid())
    asked, requeued = _slowly(files.is_to_stop), False

    def stopping() -> bool:
        nonlocal requeued
        requeued = requeued or stop()
        return requeued or asked()

    before = torch.get_num_threads()
    try:
        with contextlib.chdir(task["working_directory"]), warnings.catch_warnings():
            warnings.simplefilter("default", GenpriorWarning)
            warnings.showwarning = _told(files)
            torch.set_num_threads(task["threads"])
            files.tell("finished", scores=_trained(task, files, stopping))
    except Exception as error:  # even a bug of a plugin fails only its row
        if not (requeued and isinstance(error, Interrupted)):
            files.tell("failed", **_portable(failure_of(error)), trace=traceback.format_exc())
    finally:
        torch.set_num_threads(before)


def _trained(task: dict[str, Any], files: TaskFolder, stop: Callable[[], bool]) -> dict[str, float]:
    told = 0.0

    def progress(step: int, rate: float) -> None:
        nonlocal told
        if time.monotonic() - told > EVERY:
            told = time.monotonic()
            files.tell("progress", step=step, rate=rate)

    return train_sent(task, device=task["device"], stop=stop, progress=progress, last_good=task["last_good"])


def _slowly(ask: Callable[[], bool]) -> Callable[[], bool]:
    """The same question, asked at most once in `EVERY` seconds."""
    asked, answer = -EVERY, False

    def slowly() -> bool:
        nonlocal asked, answer
        if time.monotonic() - asked >= EVERY:
            asked, answer = time.monotonic(), ask()
        return answer

    return slowly


def _told(files: TaskFolder) -> Callable[..., None]:
    """A `warnings.showwarning` that lets the parent show the warning, as it shows its own."""

    def show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
        name = known_category(category).__name__
        files.tell("warning", text=str(message), category=name, file=filename, line=lineno)

    return show


# ---------------------------------------------------------------------------------------------------------------------
# Errors and warnings in a message
# ---------------------------------------------------------------------------------------------------------------------


def _portable(error: Exception) -> dict[str, str]:
    return {"error": type(error).__name__, "text": str(error)}


def error_of(message: dict[str, Any]) -> GenpriorError:
    """The error of a message: of its class if that is one of genprior's, else one that names the class."""
    name, text = message["error"], message["text"]
    known = getattr(errors, name, None)
    if isinstance(known, type) and issubclass(known, GenpriorError):
        return known(text)
    return row_failure(f"{name}: {text}")


def warning_of(message: dict[str, Any]) -> Warning:
    """The warning of a message."""
    name, text = message["category"], message["text"]
    known = GenpriorWarning if name == GenpriorWarning.__name__ else getattr(builtins, name, UserWarning)
    return known(text) if isinstance(known, type) and issubclass(known, Warning) else UserWarning(text)
