"""A launcher of threads of this process, whose tasks can be lost, refused and queued."""

from __future__ import annotations

import threading
from pathlib import Path

import genprior
from genprior.launch.tasks import TaskFolder


class ThreadTask(genprior.LaunchedTask):
    """A thread that runs the task, or only tells what the launcher says of the row."""

    def __init__(self, launcher: Threads, folder: Path, name: str):
        self._launcher = launcher
        self._name = name
        self.how: str | None = None
        self.cancelled = False
        self._folder = folder
        self._thread = threading.Thread(target=self._run)
        if name not in launcher.queued:
            self._thread.start()

    def _run(self) -> None:
        if self._name in self._launcher.lost:
            TaskFolder(self._folder).tell("begun", machine="a machine that is lost")
            self.how = "was killed (out of memory)"
            return
        if self._name in self._launcher.repeated:
            TaskFolder(self._folder).tell("begun", machine="a machine that is lost")
            with (self._folder / "messages.jsonl").open("a") as file:
                file.write('{"kind": "progr')  # it was killed while it wrote
            TaskFolder(self._folder).tell("begun", machine="another")
            TaskFolder(self._folder).tell("finished", scores={})
        else:
            genprior.run_task(self._folder)
        self.how = "returned"

    def ended(self) -> str | None:
        return self.how

    def cancel(self) -> None:
        self.cancelled = True
        self.how = "was cancelled"


class Threads(genprior.Launcher):
    """Runs tasks in threads of this process."""

    name = "threads"

    class Settings(genprior.LauncherSettings):
        """Settings of the tests."""

        address: str = "here"
        """Where the scheduler is."""
        seconds: float = 5.0
        """How long its answer may take."""

    def __init__(self, settings=None, *, lost=(), queued=(), refused=(), repeated=()):
        super().__init__(settings)
        self.lost, self.queued, self.refused, self.repeated = lost, queued, refused, repeated
        self.calls: list[str] = []
        self.tasks: dict[str, ThreadTask] = {}

    def open(self, device):
        self.calls.append(f"open {device}")
        if self.settings.address != "here":
            raise genprior.LaunchError(f"{self.settings.address} does not answer; give the address of a scheduler")

    def start(self, folder, name):
        if name in self.refused:
            raise genprior.LaunchError("there is no such partition; name another one")
        self.calls.append(f"start {name}")
        self.tasks[name] = ThreadTask(self, folder, name)
        return self.tasks[name]

    def close(self):
        self.calls.append("close")
