"""The commands `train` and `check`, which show their progress."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.table import Table as Grid
from rich.text import Text

from genprior.cli.console import console, print_error, print_line, print_table, print_written, refuse_unread
from genprior.cli.ranks import beside_the_first, speak_again
from genprior.cli.tracebacks import print_traceback
from genprior.errors import GenpriorError, Interrupted, RankLost, RunError, system_error

__all__ = ["Launched", "check", "exit_code", "launch_rows", "text_of", "train"]


@contextmanager
def _resumable() -> Iterator[None]:
    """Let an error of the operating system say that the training resumes."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise system_error(error, training=True) from error


@_resumable()
def train(
    recipe: Any,
    folder: Path,
    *,
    jobs: int | Literal["auto"] | None,
    device: str,
    on: Any = None,
    last_good: bool = False,
    steps: int | None = None,
) -> int:
    """Train a recipe, show its progress, and print the table; `steps` is the number of steps instead of `run.steps`.

    Returns:
        The exit code: 0; 1 or 2 if a row failed; 130 if the user stopped it.

    Raises:
        GenpriorError: nothing was trained, because the recipe, the folder or the device is invalid.
    """
    from genprior.tables.gather import being_lengthened, table_of_jobs

    recipe = recipe if steps is None else recipe.lasting(steps)
    launched = launch_rows(recipe, folder, jobs=jobs, device=device, on=on, last_good=last_good, steps=steps)
    if launched.stopped:
        return Interrupted.exit_code
    table = launched.table or table_of_jobs(recipe, launched.jobs, folder)
    if table.rows:
        print_table(table)
        if longer := being_lengthened(folder):
            named = ", ".join(map(str, longer))
            print_line(f"{folder / 'table.md'} is not written until all runs have their steps; unfinished: {named}")
        else:
            print_written(folder, ("table.md", "table.html", "rows.png"))
    if not launched.failures:
        refuse_unread(table)
    return exit_code(launched)


@dataclass(frozen=True)
class Launched:
    """What became of the runs of a recipe."""

    jobs: Sequence[Any]
    """The runs of the rows."""
    planned: int = 0
    """How many runs there were to train: those of the rows, and first stages that are no row."""
    table: Any = None
    """The table that was written; None if a run failed or the user stopped."""
    failures: Sequence[tuple[Any, Exception]] = ()
    """The runs that failed, each with its error."""
    stopped: bool = False
    """Whether the user stopped the training, which has been printed."""


@_resumable()
def launch_rows(
    recipe: Any,
    folder: Path,
    *,
    jobs: int | Literal["auto"] | None,
    device: str,
    on: Any = None,
    last_good: bool = False,
    steps: int | None = None,
) -> Launched:
    """Train a recipe and show its progress.

    Raises:
        GenpriorError: nothing was trained, because the recipe, the folder or the device is invalid.
    """
    from genprior.cli.progress import watching
    from genprior.launch.train import train as launch
    from genprior.runs.changed_runs import refuse_changed
    from genprior.runs.jobs import jobs_of

    todo = jobs_of(recipe, folder)
    refuse_changed(todo, folder, lengthened=steps is not None)
    table, stopped = None, False
    with watching(console(stderr=True)) as watcher:
        try:
            table = launch(
                recipe,
                out=folder,
                jobs=jobs,
                on=on,
                device=device,
                reporter=watcher,
                last_good=last_good,
                steps=steps,
            )
            if beside_the_first():
                raise SystemExit(0)
        except Interrupted:
            stopped = True
        except RankLost as error:
            if beside_the_first() and not error.told:
                speak_again()
            if not any(error is failure for _, failure in watcher.failures):
                raise
        except Exception as error:  # of a row, even a bug of a plugin: reported below
            if not any(error is failure for _, failure in watcher.failures):
                raise
    planned = len(watcher.jobs or todo)  # a training that is stopped while rows are checked has planned none
    if stopped:
        print_line(
            f"stopped: {len(watcher.done)} of {planned} runs are finished; the same command resumes the others.",
            stderr=True,
            style="yellow",
        )
    return Launched(todo, planned, table, tuple(watcher.failures), stopped)


def exit_code(launched: Launched) -> int:
    """The exit code of a training that was not stopped; the runs that failed are printed."""
    if not launched.failures:
        return 0
    failed = "\n".join(
        f"  {job.name}: {text_of(error).replace(chr(10), chr(10) + '    ')}" for job, error in launched.failures
    )
    print_error(f"{len(launched.failures)} of {launched.planned} runs failed:\n{failed}")
    print_traceback(*(error for _, error in launched.failures))
    return 2 if all(isinstance(error, RunError) for _, error in launched.failures) else 1


def check(recipe: Any, device: str) -> None:
    """Take one step of each row, and print the parameters of its modules.

    Raises:
        RecipeError: a row cannot be trained; the message lists the mistakes of each row.
    """
    from genprior.cli.expected_time import expected
    from genprior.launch.pace import estimate, working_threads
    from genprior.launch.preflight import preflight
    from genprior.launch.reporter import default_jobs
    from genprior.runs.jobs import jobs_of, with_first_stages
    from genprior.runs.parameters import parameters_of

    with tempfile.TemporaryDirectory() as folder:  # of no runs: the time is that of a training from its beginning
        stages = with_first_stages(jobs_of(recipe, Path(folder)))
    workers = min(len(stages), default_jobs(device))
    with _status("taking one step of each row"), working_threads(workers):
        took = estimate(stages, preflight(recipe, device, timed=True), workers)
        counts = parameters_of(recipe.plans)
    names = list(dict.fromkeys(name for each in counts.values() for name in each))
    grid = Grid(title=Text(recipe.title), title_justify="left", title_style="bold", caption="parameters of each module")
    for place, heading in enumerate(["row", "model", "data", *names, "all"]):
        grid.add_column(heading, justify="left" if place < 3 else "right", overflow="fold")
    for plan in recipe.plans:
        own = counts[plan.label]
        numbers = [f"{own[name]:,}" if name in own else "-" for name in names]
        grid.add_row(plan.label, plan.model.name, plan.data.name, *numbers, f"{sum(own.values()):,}")
    console().print(grid)
    rows = "1 row" if len(recipe.plans) == 1 else f"{len(recipe.plans)} rows"
    if took is not None:
        print_line(expected(took))
    print_line(f"ok: {rows}, one step of each was taken", style="green")


def text_of(error: Exception) -> str:
    """The message of an error; that of a bug begins with its type."""
    return str(error) if isinstance(error, GenpriorError) else f"{type(error).__name__}: {error}"


def _status(text: str) -> AbstractContextManager[Any]:
    return console(stderr=True).status(text)
