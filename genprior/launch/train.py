"""Trains the rows of a recipe, one after another in this process or in parallel processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import torch

from genprior.errors import Interrupted, OutOfMemory, RecipeError, listed, whole_number
from genprior.launch.elsewhere import elsewhere, opened
from genprior.launch.launchers import Launcher
from genprior.launch.mps import sharing, switched_off
from genprior.launch.pace import Pace, estimate, working_threads
from genprior.launch.preflight import preflight
from genprior.launch.processes import in_processes
from genprior.launch.reporter import Reporter, Safe, default_jobs, failure_of, stop_on_interrupt
from genprior.launch.session import refuse_workers
from genprior.launch.side_by_side import rows_on
from genprior.launch.table_hooks import tell_of_table
from genprior.recipe.load import Recipe
from genprior.runs.changed_runs import refuse_changed
from genprior.runs.jobs import Job, home_of, jobs_of, with_first_stages
from genprior.runs.lengthen import lengthen
from genprior.runs.ranks import Team, team_of
from genprior.runs.second_stage import trainer_of
from genprior.tables.formats import refuse_foreign
from genprior.tables.gather import TABLE_FILES, being_lengthened, table_of_jobs, write_table_of_jobs
from genprior.tables.table import Table

__all__ = ["train"]


def train(
    recipe: Recipe,
    *,
    rows: Sequence[str] | None = None,
    out: str | Path | None = None,
    jobs: int | Literal["auto"] | None = None,
    on: Launcher | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
    last_good: bool = False,
    steps: int | None = None,
) -> Table:
    """Train and score every row of a recipe under every seed, and write the table.

    Finished rows are skipped; unfinished rows are resumed.

    Args:
        recipe: the recipe, from `genprior.load_recipe`.
        rows: labels of the rows to train; all by default.
        out: the folder for the table and the run folders `<row>/seed-<k>`; by default `runs/<recipe>[-<change>...]`,
            and for the own `recipe.toml` of a run the folder that holds it.
        jobs: the number of rows to train in parallel, each in a separate process; one by default, and with `on` as
            many as its scheduler allows. "auto" is one for each core on a CPU, on a GPU as many as `rows_at_once`
            says, or one where processes take turns on it, and with `on` the default. Under torchrun, whose processes
            share the batches of one row at a time, it is one.
        on: trains the rows instead, on other machines.
        device: `auto`, `cpu` or `cuda`.
        reporter: receives the progress; `genprior.train` has one that shows it.
        last_good: resume unfinished rows from their newest undamaged checkpoint; damaged ones that are newer are moved
            to `checkpoints/damaged`.
        steps: the number of steps of every row, instead of `run.steps`. Runs in the folder, finished or not, are
            trained to that number if their steps so far are those of a run of that length from the beginning.

    Returns:
        The table, which is also written to `<out>/table.json`, `.md` and `.html`.

    Raises:
        RecipeError: a row cannot be trained, no row is chosen, or `jobs` is no whole number of at least 1; nothing
            was written.
        LaunchError: `on` cannot reach its scheduler; nothing was written.
        RunError: the folder holds a file of the table's name that genprior did not write, or a run that cannot have
            that number of `steps`; nothing was written.
        GenpriorError: a row failed; the others were trained and the table was written.
        Interrupted: the user stopped the training; the same call resumes it.
    """
    limit = _most_at_once(jobs, on, device)
    switched_off()  # refuses a value that is wrong, before anything is written
    if steps is not None:
        recipe = recipe.lasting(steps)
    if rows is not None:
        recipe = dataclasses.replace(recipe, plans=tuple(recipe.row(label) for label in dict.fromkeys(rows)))
    if not recipe.plans:
        raise RecipeError(
            f"no row of the recipe '{recipe.name}' is chosen, so there is nothing to train; name the rows, or "
            f"leave the choice out to train all. Possible: {listed(recipe.order)}"
        )
    folder = Path(out) if out is not None else home_of(recipe, recipe.changes)
    todo = jobs_of(recipe, folder)
    stages = with_first_stages(todo)
    workers = min(len(stages), limit or 1)
    with team_of(device, workers) as team:
        if not team.leads:
            _follow(team, stages)
            return table_of_jobs(recipe, todo, folder)
        with team.leading():
            refuse_foreign(folder, TABLE_FILES)
            # Before their first stages are trained.
            refuse_changed([job for job in todo if job.first is not None], folder, lengthened=steps is not None)
            if on is not None:
                _refuse_torchrun(team, on)
                refuse_workers(recipe, f"in processes of launcher '{on.name}'", "train them here, without `on`")
            elif workers > 1:
                refuse_workers(recipe)
            # Neither the speed of other machines is known here, nor that of processes that share the batches.
            here = on is None and team.place.world == 1
            with nullcontext() if on is None else opened(on, device):
                # The device is that of the other machines, which this one may lack.
                with working_threads(workers), team.apart():
                    paces = preflight(recipe, team.device if on is None else "auto", timed=here)
                if jobs == "auto" and here and paces:
                    workers = _as_many_as_fit(recipe, paces, len(stages), workers)
                if steps is not None:
                    lengthen(todo, folder, last_good=last_good)
                reporter = Safe(reporter or Reporter())
                if on is not None:
                    reporter.planned(stages)
                    reporter.estimated(None)
                    failures = elsewhere(stages, limit, device, reporter, on, folder, last_good=last_good)
                else:
                    known = paces if here else None
                    failures = _here(team, stages, known, workers, reporter, auto=jobs == "auto", last_good=last_good)
            table = write_table_of_jobs(recipe, todo, folder)
            # The user who stops a training does not wait for plugins, and the table of runs that go on stays as it was.
            if not being_lengthened(folder) and not any(isinstance(error, Interrupted) for error in failures):
                tell_of_table(recipe, folder)
            for error in failures:
                raise error
            return table


def _most_at_once(jobs: int | Literal["auto"] | None, on: Launcher | None, device: str) -> int | None:
    """The limit of `jobs` before rows are measured; None without one."""
    if jobs == "auto":
        return None if on is not None else default_jobs(device)
    return None if jobs is None else whole_number(jobs, "jobs", RecipeError, least=1)


def _as_many_as_fit(recipe: Recipe, paces: Sequence[Pace], stages: int, workers: int) -> int:
    """The number of rows side by side on a GPU, from what was measured of each; `workers` on a CPU.

    Raises:
        RecipeError: several would fit, but workers cannot train these rows.
    """
    if paces[0].device.type != "cuda":
        return workers
    workers = min(stages, rows_on(paces[0].device, [pace.load for pace in paces]))
    if workers > 1:
        refuse_workers(recipe)
    return workers


def _refuse_torchrun(team: Team, on: Launcher) -> None:
    if team.place.world > 1:
        raise RecipeError(
            f"--on {on.name} trains rows on other machines, but torchrun started {team.place.world} processes that "
            "train one row together here. Leave one of them out"
        )


def _follow(team: Team, jobs: Sequence[Job]) -> None:
    """Train beside the first process."""
    with stop_on_interrupt() as stop, torch.random.fork_rng():
        team.follow(lambda number: trainer_of(jobs[number], device=team.device, stop=stop.is_set), stop)


def _here(
    team: Team,
    stages: Sequence[Job],
    paces: Sequence[Pace] | None,
    workers: int,
    reporter: Reporter,
    *,
    auto: bool,
    last_good: bool,
) -> list[Exception]:
    """Train on this machine; `auto` is one row at a time where processes take turns on the GPU."""
    with sharing(team.device, workers) as shared:
        line = shared.line(workers, fewer=auto)
        if auto and shared.takes_turns:
            workers = 1
        reporter.planned(stages)
        turns = shared.takes_turns
        reporter.estimated(None if paces is None else estimate(stages, paces, workers, takes_turns=turns))
        if line is not None:
            reporter.sharing(line)
        if workers > 1:
            torch.cuda.empty_cache()  # of the check before, whose tensors are gone; nothing without CUDA
            return in_processes(stages, workers, shared, reporter, last_good=last_good)
        return _in_this_process(team, stages, reporter, last_good)


def _in_this_process(team: Team, jobs: Sequence[Job], reporter: Reporter, last_good: bool) -> list[Exception]:
    failures: list[Exception] = []
    with stop_on_interrupt() as stop:
        for number, job in enumerate(jobs):
            trainer = None
            if stop.is_set():
                reporter.stopping()
                return [Interrupted(f"stopped before row '{job.plan.label}'"), *failures]
            try:
                trainer = trainer_of(
                    job,
                    device=team.device,
                    stop=stop.is_set,
                    progress=lambda step, rate, job=job: reporter.progress(job, step, rate),  # type: ignore[misc]
                    last_good=last_good,
                    together=team.share(number),
                )
                with torch.random.fork_rng():
                    reporter.finished(job, trainer.run())
            except Interrupted as error:
                reporter.stopping()
                return [error, *failures]
            except Exception as error:  # the failure of one row, even a bug of a plugin, does not stop the others
                failure = failure_of(error)
                reporter.failed(job, failure)
                if isinstance(failure, OutOfMemory):  # frames hold the model, and the next row needs the memory
                    failure.__traceback__ = failure.__context__ = None
                failures.append(failure)
                if team.part(trainer, failure):
                    return failures
    return failures
