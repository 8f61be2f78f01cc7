"""Shows the progress of runs: live bars on a terminal, plain lines otherwise."""

from __future__ import annotations

import contextlib
import importlib.util
import time
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.status import Status
from rich.text import Text

from genprior.cli.expected_time import expected
from genprior.launch.pace import Estimate
from genprior.launch.reporter import Reporter
from genprior.runs.folder import RunFolder
from genprior.runs.jobs import Job

__all__ = ["Bars", "Lines", "Watcher", "clock", "watching"]

EVERY = 10.0
"""Seconds between two plain lines of a run."""


@contextlib.contextmanager
def watching(console: Console) -> Iterator[Watcher]:
    """Show the progress of runs inside the block: bars if `console` is a terminal or a notebook, else lines."""
    watcher = Bars(console) if console.is_terminal or _has_widgets(console) else Lines(console)
    try:
        watcher.checking()
        yield watcher
    finally:
        watcher.close()


def _has_widgets(console: Console) -> bool:
    """Whether the output is a notebook's with ipywidgets, by which rich moves bars there."""
    return console.is_jupyter and importlib.util.find_spec("ipywidgets") is not None


class Watcher(Reporter):
    """Receives the progress of runs, counts steps, and prints finished and failed runs."""

    def __init__(self, console: Console) -> None:
        """Print to `console`."""
        self.console = console
        self.jobs: Sequence[Job] = ()
        self.steps: dict[str, int] = {}
        self.done: dict[str, Job] = {}
        self.failures: list[tuple[Job, Exception]] = []
        self._before: set[str] = set()
        self._began: dict[str, float] = {}
        self._left: dict[str, float | None] = {}
        self._start = time.monotonic()
        self._start_steps = 0

    def checking(self) -> None:
        """Show that each row is checked before training."""
        self.console.print("checking: one step of each row")

    def planned(self, jobs: Sequence[Job]) -> None:
        """Set the jobs; steps that their run folders already hold are counted."""
        self.jobs = jobs
        for job in jobs:
            key = str(job.folder)
            files = RunFolder(job.folder)
            if files.finished(job.plan):
                self._before.add(key)
                self.steps[key] = job.plan.own_run.steps
            else:
                self.steps[key] = files.checkpoint_step
        self._start, self._start_steps = time.monotonic(), sum(self.steps.values())

    def estimated(self, estimate: Estimate | None) -> None:
        """Print about how long the training is going to take."""
        if estimate is not None:
            self.console.print(Text(expected(estimate)), soft_wrap=True)

    def sharing(self, line: str) -> None:
        """Print how processes share a GPU."""
        self.console.print(Text(line), soft_wrap=True)

    def progress(self, job: Job, step: int, rate: float) -> None:
        """Show that `step` steps of a job are done, at `rate` images/s."""
        key = str(job.folder)
        if key in self.done or self._has_failed(job):
            return  # a message of a worker may arrive after its end
        first = key not in self._began
        if not self._began:
            self._start = time.monotonic()  # the start of the workers is not part of the estimate
        self._began.setdefault(key, time.monotonic())
        started_at, self.steps[key] = self.steps[key], step
        self._left[key] = (job.plan.own_run.steps - step) * job.plan.own_run.batch / rate if rate > 0 else None
        self._moved(job, step, rate, started_at if first else None)

    def finished(self, job: Job, scores: dict[str, float]) -> None:
        """Print the scores of a job that is trained and scored."""
        key = str(job.folder)
        self.done[key] = job
        self.steps[key] = job.plan.own_run.steps
        self._left.pop(key, None)
        self._ended(job)
        shown = [f"{name} {value:.4g}" for name, value in scores.items() if _is_score(name, scores)]
        if key in self._before:
            took = "was finished before"
        else:
            took = f"finished in {clock(time.monotonic() - self._began.get(key, self._start))}"
            stopped = RunFolder(job.folder).fact("stopped_step")
            if stopped is not None:
                took += f", stopped early after {stopped:,} of {job.plan.own_run.steps:,} steps"
        self.console.print(
            Text.assemble((job.name, "bold green"), f": {took}", *([f"; {', '.join(shown)}"] if shown else [])),
            soft_wrap=True,
        )

    def failed(self, job: Job, error: Exception) -> None:
        """Print the error of a failed job; the others continue."""
        self.failures.append((job, error))
        self._left.pop(str(job.folder), None)
        self._ended(job)
        self.console.print(Text.assemble((f"{job.name}: failed: ", "bold red"), str(error)), soft_wrap=True)

    def stopping(self) -> None:
        """Print that runs stop after their current step."""
        self.console.print(
            Text("stopping: the running rows write their checkpoints (Ctrl-C again ends at once)", style="yellow")
        )

    def close(self) -> None:
        """Remove live output from the console."""

    def seconds_left(self) -> float | None:
        """The estimated time left for all jobs, from the steps since the start; None if unknown.

        It is at least that of the slowest of the running ones, whose steps may cost more than those before.
        """
        total, now = self._total(), sum(self.steps.values())
        elapsed = time.monotonic() - self._start
        if now <= self._start_steps or elapsed <= 1:
            return None
        own = [left for left in self._left.values() if left is not None]
        return max([(total - now) * elapsed / (now - self._start_steps), *own])

    def _total(self) -> int:
        """The steps of all jobs; of failed ones, which take no more time, those that they have done."""
        return sum(
            self.steps.get(str(job.folder), 0) if self._has_failed(job) else job.plan.own_run.steps for job in self.jobs
        )

    def _has_failed(self, job: Job) -> bool:
        return any(job is failed for failed, _ in self.failures)

    def _moved(self, job: Job, step: int, rate: float, started_at: int | None) -> None:
        """Update the display of a job; `started_at` is the step that it started from, at its first report."""

    def _ended(self, job: Job) -> None:
        """Stop showing a job."""


def _is_score(name: str, scores: dict[str, float]) -> bool:
    spread = name.endswith("_std") and name.removesuffix("_std") in scores
    return not spread and not name.startswith("real_")


def _speed(job: Job, rate: float) -> str:
    """The speed of a run in images, or of the fit of a prior in codes."""
    return f"{rate:,.0f} {'images' if job.plan.fitted_prior is None else 'codes'}/s"


def clock(seconds: float | None) -> str:
    """A duration as `0:12` or `1:02:03`; `-:--` if unknown."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Lines(Watcher):
    """Prints one line per run every ten seconds, for files, pipes and continuous integration."""

    def __init__(self, console: Console) -> None:
        """Print to `console`."""
        super().__init__(console)
        self._shown: dict[str, float] = {}

    def _moved(self, job: Job, step: int, rate: float, started_at: int | None) -> None:
        key, now = str(job.folder), time.monotonic()
        if started_at:
            self.console.print(f"{job.name}: resumes after step {started_at:,}")
        if now - self._shown.get(key, -EVERY) < EVERY:
            return
        self._shown[key] = now
        steps = job.plan.own_run.steps
        left = self._left[key]
        self.console.print(
            f"{job.name}: step {step:,} of {steps:,}, {_speed(job, rate)}, {clock(left)} left; "
            f"{len(self.done)} of {len(self.jobs)} runs done, {clock(self.seconds_left())} left"
        )


class _TimeLeft(ProgressColumn):
    """The time left, a field of the task, counted down between reports."""

    def render(self, task: Task) -> Text:
        """The text of one line."""
        if task.completed >= (task.total or 0):
            return Text("scoring" if task.fields.get("row") else "writing the table", style="magenta")
        if not task.completed and task.fields["left"] is None:
            return Text("starting", style="magenta")
        left = task.fields["left"]
        if left is not None:
            left = max(0.0, left - (time.monotonic() - task.fields["at"]))
        return Text(clock(left) + " left", style="cyan")


class Bars(Watcher):
    """Shows a bar for each running row and one for all rows on a terminal."""

    def __init__(self, console: Console) -> None:
        """Draw on `console`."""
        super().__init__(console)
        self._status: Status | None = None
        self._tasks: dict[str, TaskID] = {}
        self._all: TaskID | None = None
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[count]}", markup=False, justify="right"),
            TextColumn("{task.fields[rate]}", markup=False, justify="right", style="dim"),
            _TimeLeft(),
            console=console,
            transient=True,
        )

    def checking(self) -> None:
        """Show that each row is checked before training."""
        self._status = self.console.status("checking: one step of each row")
        self._status.start()

    def planned(self, jobs: Sequence[Job]) -> None:
        """Set the jobs and show the bars."""
        super().planned(jobs)
        if self._status is not None:
            self._status.stop()
        total = sum(job.plan.own_run.steps for job in jobs)
        self._all = self._bars.add_task("all", total=total, count="", rate="", left=None, at=time.monotonic())
        self._bars.start()
        self._show_all()

    def close(self) -> None:
        """Remove the bars; the lines of finished and failed runs stay."""
        if self._status is not None:
            self._status.stop()
        self._bars.stop()

    def _moved(self, job: Job, step: int, rate: float, started_at: int | None) -> None:
        key, steps = str(job.folder), job.plan.own_run.steps
        count = f"{step:,}/{steps:,}"
        left = self._left[key]
        fields: dict[str, Any] = {"count": count, "rate": _speed(job, rate), "left": left, "at": time.monotonic()}
        if key not in self._tasks:
            self._tasks[key] = self._bars.add_task(job.name, total=steps, completed=step, row=True, **fields)
        else:
            self._bars.update(self._tasks[key], completed=step, **fields)
        self._show_all()

    def _ended(self, job: Job) -> None:
        task = self._tasks.pop(str(job.folder), None)
        if task is not None:
            self._bars.remove_task(task)
        self._show_all()

    def _show_all(self) -> None:
        if self._all is not None:
            self._bars.update(
                self._all,
                total=self._total(),
                completed=sum(self.steps.values()),
                count=f"{len(self.done)}/{len(self.jobs)} runs",
                left=self.seconds_left(),
                at=time.monotonic(),
            )
