"""Commands that train: arguments and options. Each imports what it needs when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from genprior.cli.options import (
    AddedPriors,
    Device,
    Jobs,
    OnDevice,
    OnLauncher,
    Recipe,
    RecipeOfPriors,
    Resume,
    ResumeFrom,
    Rows,
    RowToCopy,
    RunsFolder,
    Seeds,
    Set,
    Steps,
    With,
    rows_in_parallel,
)

__all__ = ["check", "priors", "train"]


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        seeds = [int(each) for each in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"'{text}' is not a list of whole numbers such as 0,1,2", param_hint="'--seeds'"
        ) from None
    if min(seeds) < 0:
        raise typer.BadParameter(f"'{text}' contains a negative number", param_hint="'--seeds'")
    return list(dict.fromkeys(seeds))


def train(
    recipe: Recipe,
    changes: With = None,
    settings: Set = None,
    rows: Rows = None,
    seeds: Seeds = None,
    out: RunsFolder = None,
    jobs: Jobs = None,
    on: OnLauncher = None,
    device: OnDevice = Device.AUTO,
    resume: ResumeFrom = Resume.NEWEST,
    steps: Steps = None,
) -> None:
    """Train and score every row of a recipe, and write the table.

    Finished rows are skipped and unfinished rows are resumed. Ctrl-C writes checkpoints and stops; the same command
    resumes. A second Ctrl-C ends at once. --steps trains finished and unfinished runs to another number of steps.
    --on trains on other machines, which share the runs' folder with this one.
    """
    from genprior.cli.launchers import launcher_of
    from genprior.cli.train import train as run
    from genprior.recipe.load import load_recipe
    from genprior.runs.jobs import home_of

    workers = rows_in_parallel(jobs, device.value, elsewhere=on is not None)
    found = load_recipe(
        recipe, changes=changes or (), settings=settings or (), rows=rows or None, seeds=_numbers(seeds)
    )
    folder = out if out is not None else home_of(found, changes or ())
    launcher = launcher_of(on) if on is not None else None
    last_good = resume is Resume.LAST_GOOD
    code = run(found, folder, jobs=workers, device=device.value, on=launcher, last_good=last_good, steps=steps)
    raise typer.Exit(code)


def check(
    recipe: Recipe,
    changes: With = None,
    settings: Set = None,
    rows: Rows = None,
    seeds: Seeds = None,
    device: OnDevice = Device.AUTO,
) -> None:
    """Validate a recipe and take one step of each row, without writing files; say about how long training takes."""
    from genprior.cli.train import check as run
    from genprior.recipe.load import load_recipe

    found = load_recipe(
        recipe, changes=changes or (), settings=settings or (), rows=rows or None, seeds=_numbers(seeds)
    )
    run(found, device.value)


def priors(
    recipe: RecipeOfPriors = None,
    changes: With = None,
    settings: Set = None,
    rows: Rows = None,
    seeds: Seeds = None,
    added: AddedPriors = None,
    like: RowToCopy = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Rank by this number of scores.json; by default the recipe's first score."),
    ] = None,
    train: Annotated[bool, typer.Option("--train/--no-train", help="Train what is not finished, or rank only.")] = True,
    out: RunsFolder = None,
    jobs: Jobs = None,
    on: OnLauncher = None,
    device: OnDevice = Device.AUTO,
    resume: ResumeFrom = Resume.NEWEST,
    steps: Steps = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the ranking as JSON.")] = False,
) -> None:
    """Train the priors of a recipe as `train` does, and rank them by a score with paired differences over seeds.

    --add ranks any installed prior beside them, also of a plugin: as `prior`, as `fitted_prior`, or as both, as it can
    be. The ranking is written beside the table, as priors.md and priors.json.
    """
    from genprior.cli.completion import PRIORS
    from genprior.cli.launchers import launcher_of
    from genprior.cli.priors import priors as run
    from genprior.launch.add_prior import with_priors
    from genprior.recipe.load import load_recipe
    from genprior.recipe.shipped import default_recipe
    from genprior.runs.jobs import home_of

    if like is not None and not added:
        raise typer.BadParameter("says which row --add copies; give --add NAME too", param_hint="'--like'")
    workers = rows_in_parallel(jobs, device.value, elsewhere=on is not None)
    launcher = launcher_of(on) if on is not None else None
    given = {"changes": changes or (), "settings": settings or (), "seeds": _numbers(seeds)}
    path = recipe if recipe is not None else default_recipe(PRIORS)
    found = load_recipe(path, rows=rows or None, **given)  # type: ignore[arg-type]
    if added:
        every = load_recipe(path, **given) if rows else found  # type: ignore[arg-type]
        found = with_priors(found, added, bases=every, like=like, device=device.value)
    code = run(
        found,
        out if out is not None else home_of(found, changes or ()),
        by=by,
        train=train,
        as_json=as_json,
        jobs=workers,
        device=device.value,
        on=launcher,
        steps=steps,
        last_good=resume is Resume.LAST_GOOD,
    )
    raise typer.Exit(code)
