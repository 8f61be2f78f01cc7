"""`genprior.train` and `genprior.check`: the commands as functions, with the same display of progress."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from genprior.cli.console import console
from genprior.cli.launchers import launcher_of
from genprior.cli.progress import watching
from genprior.launch.launchers import Launcher
from genprior.launch.preflight import preflight
from genprior.launch.reporter import Reporter
from genprior.launch.train import train as launch
from genprior.recipe.load import Recipe
from genprior.runs.in_memory import Images, as_data
from genprior.tables.table import Table

__all__ = ["check", "train"]


def train(
    recipe: Recipe,
    *,
    data: Images | None = None,
    rows: Sequence[str] | None = None,
    out: str | Path | None = None,
    jobs: int | Literal["auto"] | None = None,
    on: str | Launcher | None = None,
    device: str = "auto",
    progress: bool = True,
    reporter: Reporter | None = None,
    last_good: bool = False,
    steps: int | None = None,
) -> Table:
    """Train and score every row of a recipe under every seed, and write the table.

    Finished rows are skipped; unfinished rows are resumed.

    Args:
        recipe: the recipe, from `genprior.load_recipe` or `genprior.make_recipe`.
        data: images instead of the recipe's data set, for all rows: what `genprior.in_memory` takes or returns.
        rows: labels of the rows to train; all by default.
        out: the folder for the table and the run folders `<row>/seed-<k>`; `runs/<recipe>[-<change>...]` by default.
        jobs: the number of rows to train in parallel, each in a separate process; one by default, and with `on` as
            many as its scheduler allows. "auto" is one for each core on a CPU; on a GPU as many as its memory holds
            and as keep it busy; with `on` the default; and one under torchrun.
        on: trains the rows on other machines: an installed launcher, as `--on` names it, such as "ray" or
            "ray={gpus=0.5}", or a launcher of your own.
        device: `auto`, `cpu` or `cuda`.
        progress: whether progress is shown, as by the command line: bars in a terminal or notebook, else lines, on
            stderr.
        reporter: receives the progress instead, and nothing is shown.
        last_good: resume unfinished rows from their newest undamaged checkpoint; damaged ones that are newer are moved
            to `checkpoints/damaged`.
        steps: the number of steps of every row, instead of `run.steps`. Runs in the folder, finished or not, are
            trained to that number if their steps so far are those of a run of that length from the beginning.

    Returns:
        The table, which is also written to `<out>/table.json`, `.md` and `.html`.

    Raises:
        RecipeError: a row cannot be trained, no row is chosen, or `jobs` is no whole number of at least 1; nothing
            was written.
        LaunchError: there is no launcher named `on`, or it cannot reach its scheduler; nothing was written.
        DataError: `data` has another form than images; nothing was written.
        RunError: the folder holds a file of the table's name that genprior did not write; nothing was written.
        GenpriorError: a row failed; the others were trained and the table was written.
        Interrupted: the user stopped the training; the same call resumes it.
    """
    if data is not None:
        config = as_data(data)
        plans = tuple(plan.model_copy(update={"data": config}) for plan in recipe.plans)
        recipe = dataclasses.replace(recipe, plans=plans)
    with contextlib.nullcontext(reporter) if reporter or not progress else watching(console(stderr=True)) as watcher:
        return launch(
            recipe,
            rows=rows,
            out=out,
            jobs=jobs,
            on=launcher_of(on) if isinstance(on, str) else on,
            device=device,
            reporter=watcher,
            last_good=last_good,
            steps=steps,
        )


def check(recipe: Recipe, *, device: str = "auto") -> None:
    """Take one step of each row on a few images, without writing files.

    Raises:
        RecipeError: a row cannot be trained; the message lists the mistakes of each row.
    """
    preflight(recipe, device)
