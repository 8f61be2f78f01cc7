"""The command `priors`, which trains the priors of a recipe and ranks them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import typer

from genprior.cli.console import print_table, print_written, refuse_unread
from genprior.cli.train import Launched, exit_code, launch_rows, text_of
from genprior.errors import Interrupted, RecipeError
from genprior.runs.jobs import jobs_of
from genprior.tables.formats import refuse_foreign
from genprior.tables.rank import column_to_rank_by, rank_priors
from genprior.tables.ranking import RANKING_FILES, write_ranking

__all__ = ["priors"]


def priors(
    recipe: Any,
    folder: Path,
    *,
    by: str | None,
    train: bool,
    as_json: bool,
    jobs: int | Literal["auto"] | None,
    device: str,
    on: Any,
    steps: int | None,
    last_good: bool,
) -> int:
    """Train what is not finished, write the ranking, and print it.

    Returns:
        The exit code, as that of training.

    Raises:
        GenpriorError: nothing was trained, because the recipe, the score, the folder or the device is invalid.
    """
    recipe = recipe if steps is None else recipe.lasting(steps)
    column_to_rank_by(recipe, by)
    refuse_foreign(folder, RANKING_FILES)
    launched = Launched(jobs_of(recipe, folder))
    if train:
        launched = launch_rows(recipe, folder, jobs=jobs, device=device, on=on, steps=steps, last_good=last_good)
    elif not folder.is_dir():
        raise RecipeError(f"there are no runs in {folder} to rank; leave --no-train out, or give the --out of the runs")
    if launched.stopped:
        return Interrupted.exit_code
    ranking = rank_priors(recipe, launched.jobs, folder, by=by, failures=_reasons(launched.failures))
    write_ranking(ranking, folder)
    if as_json:
        typer.echo(json.dumps(ranking.as_json(), indent=2))
    else:
        print_table(ranking.short(folder / RANKING_FILES[1]))
        print_written(folder, RANKING_FILES if not train else (*RANKING_FILES, "table.md"))
    if not launched.failures:
        refuse_unread(ranking)
    return exit_code(launched)


def _reasons(failures: Sequence[tuple[Any, Exception]]) -> dict[Path, str]:
    """Why runs failed, in a line each, by their folders."""
    return {job.folder: " ".join(text_of(error).split()) for job, error in failures}
