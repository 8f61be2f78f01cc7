"""Launchers: other ways of running jobs than processes of this machine, such as a cluster; packages add them.

A package names its launcher by an entry point of the group `genprior.launchers`; the entry point's name is what `--on`
takes, its object a class derived from `genprior.Launcher`::

    [project.entry-points."genprior.launchers"]
    ray = "genprior_ray:RayLauncher"
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from pydantic import ConfigDict

from genprior.parts import SettingsTable

__all__ = ["LaunchedTask", "Launcher", "LauncherSettings"]


class LauncherSettings(SettingsTable):
    """Base of the settings of a launcher: the table in `--on 'NAME={SETTING=VALUE, ...}'`."""

    model_config = ConfigDict(allow_inf_nan=False)


class LaunchedTask(ABC):
    """One call of `genprior.run_task` on some machine."""

    @abstractmethod
    def ended(self) -> str | None:
        """How the task ended, as the predicate of a sentence, such as `was killed (out of memory)`.

        Called several times a second. None while it waits or runs, also while a lost task is being repeated.
        """

    @abstractmethod
    def cancel(self) -> None:
        """End the task at once, without a checkpoint; a task that has ended is left as it is."""


class Launcher(ABC):
    """A way of running jobs on other machines, which share a file system with this one.

    genprior decides which jobs may start, follows them, and stops them; a launcher hands single tasks to a scheduler::

        launcher.open("auto")
        task = launcher.start(folder, "A+B+C")  # lets a machine call genprior.run_task(folder)
        while task.ended() is None:
            ...
        launcher.close()
    """

    name: str
    """What `--on` takes, the same as the entry point's name."""
    Settings: type[LauncherSettings] = LauncherSettings
    """The class of its settings."""

    def __init__(self, settings: LauncherSettings | None = None) -> None:
        """Keep the settings, by default those of `Settings()`. Nothing is reached before `open`."""
        self.settings = settings if settings is not None else self.Settings()

    @property
    def threads(self) -> int:
        """How many threads each task computes with: the cores that the scheduler gives it."""
        return 1

    @abstractmethod
    def open(self, device: str) -> None:
        """Reach the scheduler, before anything is written.

        Args:
            device: the device of the tasks: `auto`, `cpu` or `cuda`.

        Raises:
            LaunchError: it is not there, does not answer within a time limit, or lacks what the settings request.
        """

    @abstractmethod
    def start(self, folder: Path, name: str) -> LaunchedTask:
        """Let a machine call `genprior.run_task(folder)` as soon as the scheduler allows.

        A task that is lost with its machine may be called again with the same folder, which resumes it.

        Args:
            folder: the absolute path of the task's folder; logs may be written into it.
            name: names the task for people.

        Raises:
            LaunchError: the scheduler refuses the task.
        """

    def close(self) -> None:  # noqa: B027 - most launchers have nothing to close
        """Leave the scheduler, after the last task; called once for each `open`."""
