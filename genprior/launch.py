"""Where rows run: one after another in this process, or side by side in processes of this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.queues
import os
import queue
import signal
import tempfile
import threading
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from genprior.errors import GenpriorError, Interrupted, PlanError, RecipeError, ScoreError
from genprior.plan import Plan
from genprior.recipe import Recipe
from genprior.registry import installed
from genprior.report import Table, write_table
from genprior.score import needed
from genprior.trainer import Trainer

__all__ = ["Job", "Reporter", "default_jobs", "jobs_of", "preflight", "train"]

PREFLIGHT_BATCH = 12
"""Images of the one step that shows whether a row's parts fit; enough to be shared among a critic's five updates."""


@dataclass(frozen=True)
class Job:
    """One row under one seed, and its folder."""

    plan: Plan
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """The row, and the seed where there are several."""
        return f"{self.plan.label} seed {self.seed}" if len(self.plan.run.seeds) > 1 else self.plan.label


class Reporter(Protocol):
    """What hears of the progress of jobs; the command line shows it."""

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


class _Silent:
    def planned(self, jobs: Sequence[Job]) -> None: ...
    def progress(self, job: Job, step: int, rate: float) -> None: ...
    def finished(self, job: Job, scores: dict[str, float]) -> None: ...
    def failed(self, job: Job, error: Exception) -> None: ...
    def stopping(self) -> None: ...


def jobs_of(recipe: Recipe, out: Path) -> list[Job]:
    """Every row under every seed, in `<out>/<row>/seed-<k>`; seeds outermost, so that a table fills evenly."""
    seeds = sorted({seed for plan in recipe.plans for seed in plan.run.seeds})
    return [
        Job(plan, seed, out / plan.label / f"seed-{seed}")
        for seed in seeds
        for plan in recipe.plans
        if seed in plan.run.seeds
    ]


def preflight(recipe: Recipe, device: str = "auto") -> None:
    """Take one step of each row on a few images, writing nothing, so that mistakes show before anything trains.

    Raises:
        RecipeError: lists what is wrong with each row.
    """
    wrong: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        images: dict[str, Any] = {}
        for plan in recipe.plans:
            few = {"batch": min(PREFLIGHT_BATCH, plan.run.batch), "labelled_batch": None, "steps": 1}
            small = plan.model_copy(update={"run": plan.run.model_copy(update=few)})
            trainer = Trainer(small, plan.run.seeds[0], Path(folder), device=device)
            trainer._sets = images.setdefault(plan.data.model_dump_json(), trainer._sets)
            try:
                with torch.random.fork_rng():
                    trainer.prepare()
                    _check_batches(plan, trainer)
                    _check_scores(plan, trainer)
                    trainer.one_step()
                    trainer.recorder.check(plan.label)
            except GenpriorError as error:
                wrong.setdefault(str(error), []).append(plan.label)
    if wrong:
        lines = [f"  {text} [row {', '.join(rows)}]" for text, rows in wrong.items()]
        raise RecipeError(f"the recipe '{recipe.name}' cannot be trained:\n" + "\n".join(lines))


def _check_batches(plan: Plan, trainer: Trainer) -> None:
    """Refuse batches of more images than there are, which a step on a few images would not see."""
    images, labelled, asked = len(trainer.images("train").labels), trainer.data.info.labelled, plan.run.labelled_batch
    if plan.run.batch > images:
        raise PlanError(
            f"run.batch = {plan.run.batch} is more than the {images} images of the training split; choose a smaller "
            "batch"
        )
    if asked is not None and labelled is not None and asked > labelled:
        raise PlanError(
            f"run.labelled_batch = {asked} is more than the {labelled} images that keep their label; choose 1 to "
            f"{labelled}, raise run.labels, or leave run.labelled_batch out"
        )


def _check_scores(plan: Plan, trainer: Trainer) -> None:
    """Refuse a score that lacks images, which would show after training."""
    for score in (config.make() for config in plan.scores):
        try:
            for split in score.needs:
                needed(score, split, trainer.images)
        except ScoreError as error:
            raise ScoreError(f"score '{score.name}': {error}") from error


def train(
    recipe: Recipe,
    *,
    rows: Sequence[str] | None = None,
    out: str | Path | None = None,
    jobs: int = 1,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> Table:
    """Train and score every row of a recipe under every seed, and write the table.

    Rows that are finished are skipped; rows that were stopped go on where they stopped.

    Args:
        recipe: from `genprior.load_recipe`.
        rows: labels of the rows to train; all by default.
        out: the folder of the table, which holds `<row>/seed-<k>`; `runs/<recipe>` by default.
        jobs: how many rows run side by side, each in a process of its own; see `default_jobs`.
        device: `auto`, `cpu` or `cuda`.
        reporter: hears of progress.

    Returns:
        The table, which is also written to `<out>/table.json`, `.md` and `.html`.

    Raises:
        RecipeError: a row cannot be trained at all; nothing was written.
        GenpriorError: a row failed; the others were trained and the table was written.
        Interrupted: the user stopped it; give the same command to go on.
    """
    if rows is not None:
        recipe = Recipe(recipe.name, recipe.title, tuple(recipe.row(label) for label in rows))
    folder = Path(out) if out is not None else Path("runs") / recipe.name
    preflight(recipe, device)
    todo = jobs_of(recipe, folder)
    heard = reporter or _Silent()
    heard.planned(todo)
    side_by_side = min(len(todo), jobs)
    failures = _in_processes(todo, side_by_side, device, heard) if side_by_side > 1 else _here(todo, device, heard)
    table = write_table(recipe, todo, folder)
    for error in failures:
        raise error
    return table


def default_jobs(device: str = "auto") -> int:
    """How many rows can well run side by side: one for each core on a CPU, one on a GPU."""
    if device != "cpu" and torch.cuda.is_available():
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _here(jobs: Sequence[Job], device: str, reporter: Reporter) -> list[Exception]:
    failures: list[Exception] = []
    with _asked_to_stop() as stop:
        for job in jobs:
            try:
                trainer = Trainer(
                    job.plan,
                    job.seed,
                    job.folder,
                    device=device,
                    stop=stop.is_set,
                    progress=lambda step, rate, job=job: reporter.progress(job, step, rate),  # type: ignore[misc]
                )
                with torch.random.fork_rng():
                    reporter.finished(job, trainer.run())
            except Interrupted as error:
                reporter.stopping()
                return [error, *failures]
            except Exception as error:  # one row's failure, a plugin's bug included, stops no other row
                reporter.failed(job, error)
                failures.append(error)
    return failures


@contextlib.contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
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


# ---------------------------------------------------------------------------------------------------------------------
# Side by side
# ---------------------------------------------------------------------------------------------------------------------

_messages: Any = None
_stop_flag: Any = None


def _start_worker(messages: Any, stop_flag: Any, threads: int) -> None:
    global _messages, _stop_flag
    _messages, _stop_flag = messages, stop_flag
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)


def _work(index: int, plan: str, seed: int, folder: str, device: str) -> dict[str, float]:
    """One job in a worker; the plan travels as TOML, so that any plugin's parts can be sent."""
    resolved = Plan.model_validate(tomllib.loads(plan), context={"registry": installed()})
    trainer = Trainer(
        resolved,
        seed,
        Path(folder),
        device=device,
        stop=_stop_flag.is_set,
        progress=lambda step, rate: _messages.put((index, step, rate)),
    )
    return trainer.run()


def _in_processes(jobs: Sequence[Job], workers: int, device: str, reporter: Reporter) -> list[Exception]:
    context = multiprocessing.get_context("spawn")
    messages, stop_flag = context.Queue(), context.Event()
    threads = max(1, default_jobs("cpu") // workers)
    failures: list[Exception] = []
    with (
        _asked_to_stop() as stop,
        ProcessPoolExecutor(workers, context, _start_worker, (messages, stop_flag, threads)) as pool,
    ):
        # Workers are born deaf to Ctrl-C: one that came while they import would end them with a traceback.
        with _interrupts_wait():
            running: dict[Future[dict[str, float]], Job] = {
                pool.submit(_work, index, job.plan.as_toml(), job.seed, str(job.folder), device): job
                for index, job in enumerate(jobs)
            }
        while running:
            if stop.is_set() and not stop_flag.is_set():
                stop_flag.set()
                reporter.stopping()
                for future in [future for future in running if future.cancel()]:
                    del running[future]
                failures.append(Interrupted("stopped"))
            _pass_on(messages, jobs, reporter)
            for future in [future for future in running if future.done()]:
                job = running.pop(future)
                try:
                    reporter.finished(job, future.result())
                except Interrupted as error:
                    failures.insert(0, error)
                except BrokenProcessPool:
                    lost = GenpriorError(f"row '{job.plan.label}': its process was killed; give the same command again")
                    lost.exit_code = 1
                    reporter.failed(job, lost)
                    failures.append(lost)
                except Exception as error:  # one row's failure, a plugin's bug included, stops no other row
                    reporter.failed(job, error)
                    failures.append(error)
    return failures


@contextlib.contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Ctrl-C waits until the end of the block, and for ever in processes that are started inside it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _pass_on(messages: Any, jobs: Sequence[Job], reporter: Reporter) -> None:
    """Wait a moment for news of the workers, and pass on all that is there."""
    with contextlib.suppress(queue.Empty):
        index, step, rate = messages.get(timeout=0.1)
        reporter.progress(jobs[index], step, rate)
        while True:
            index, step, rate = messages.get_nowait()
            reporter.progress(jobs[index], step, rate)
