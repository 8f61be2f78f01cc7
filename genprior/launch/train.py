"""Where rows run: one after another in this process, or side by side in processes of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from genprior.errors import Interrupted
from genprior.launch.preflight import preflight
from genprior.launch.processes import in_processes
from genprior.launch.reporter import Reporter, asked_to_stop
from genprior.recipe.load import Recipe
from genprior.runs.jobs import Job, jobs_of
from genprior.runs.trainer import Trainer
from genprior.tables.gather import write_table_of_jobs
from genprior.tables.table import Table

__all__ = ["train"]


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
    heard = reporter or Reporter()
    heard.planned(todo)
    side_by_side = min(len(todo), jobs)
    failures = in_processes(todo, side_by_side, device, heard) if side_by_side > 1 else _here(todo, device, heard)
    table = write_table_of_jobs(recipe, todo, folder)
    for error in failures:
        raise error
    return table


def _here(jobs: Sequence[Job], device: str, reporter: Reporter) -> list[Exception]:
    failures: list[Exception] = []
    with asked_to_stop() as stop:
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
