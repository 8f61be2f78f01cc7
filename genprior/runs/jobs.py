"""A row under one seed, and its folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from genprior.errors import RunError
from genprior.recipe.load import Recipe
from genprior.recipe.plan import Plan
from genprior.runs.folder import RunFolder
from genprior.storage.cache import content_hash

__all__ = ["FIRST_STAGES", "Job", "default_folder", "home_of", "jobs_of", "with_first_stages"]

FIRST_STAGES = ".first-stages"
"""The folder, beside those of the rows, of first stages that are no row of the recipe."""


@dataclass(frozen=True)
class Job:
    """One row under one seed, and its folder."""

    plan: Plan
    seed: int
    folder: Path
    first: Path | None = None
    """The run folder of the first stage, for a row with a fitted prior; None for other rows."""

    @property
    def name(self) -> str:
        """The row, and the seed where there are several."""
        return f"{self.plan.label} seed {self.seed}" if len(self.plan.run.seeds) > 1 else self.plan.label


def default_folder(recipe: str, changes: Iterable[str]) -> Path:
    """The folder of a recipe's runs and table where none is given: `runs/<recipe>[-<with>...]`.

    Args:
        recipe: the name of the recipe.
        changes: the names of the changes that all its rows have.

    Raises:
        RunError: a change has a name with which the folder would not be directly in `runs`.
    """
    name = "-".join([recipe, *dict.fromkeys(changes)])
    if not name.isprintable() or "\\" in name or Path(name).name != name:
        raise RunError(f"runs/{name} is not the name of a folder in runs; give the folder of the runs yourself")
    return Path("runs", name)


def home_of(recipe: Recipe, changes: Iterable[str] = ()) -> Path:
    """The folder of the table of a recipe's runs where none is given.

    That is the folder of the run itself for its own `recipe.toml`, and `default_folder` for other recipes.

    Raises:
        RunError: it is the recipe of a run whose folder is not named `<row>/seed-<k>`, so that it would not be found.
    """
    if recipe.home is not None:
        return recipe.home
    if recipe.file is not None and recipe.file.name == "recipe.toml" and (recipe.file.parent / "run.json").exists():
        raise RunError(
            f"{recipe.file} is the recipe of a run whose folder is not named {recipe.order[0]}/seed-<k>, so training "
            "would not find the run. Rename the folder to resume it, or give --out to train the row anew."
        )
    return default_folder(recipe.name, changes)


def jobs_of(recipe: Recipe, out: Path) -> list[Job]:
    """Every row under every seed, in `<out>/<row>/seed-<k>`; seeds outermost, so that a table fills evenly.

    Raises:
        RunError: the encoding of file names cannot write a row's label.
    """
    for plan in recipe.plans:
        _check_encoding(plan.label)
    seeds = sorted({seed for plan in recipe.plans for seed in plan.run.seeds})
    return [
        Job(plan, seed, out / plan.label / f"seed-{seed}", _first_of(plan, seed, recipe, out))
        for seed in seeds
        for plan in recipe.plans
        if seed in plan.run.seeds
    ]


def _check_encoding(label: str) -> None:
    """Refuse a label that no folder can have, because the encoding of file names does not have its characters."""
    try:
        os.fsencode(label)
    except UnicodeEncodeError as error:
        raise RunError(
            f"row '{label}' has a folder of its name, and file names are in {error.encoding} here, which cannot write "
            f"{ascii(label[error.start])}. Set the environment variable PYTHONUTF8=1, or a locale of UTF-8, or "
            "give the row another label"
        ) from None


def with_first_stages(jobs: Sequence[Job]) -> list[Job]:
    """The jobs, and before them the first stages that unfinished ones build on, each once.

    A row of the recipe that is the first stage of others comes before them too.
    """
    needed: dict[Path, Job] = {}
    for job in jobs:
        if job.first is not None and job.first not in needed and not RunFolder(job.folder).finished(job.plan):
            needed[job.first] = Job(job.plan.first_stage(), job.seed, job.first)
    own = {job.folder: job for job in jobs}
    first = [own.get(folder, job) for folder, job in needed.items()]
    return [*first, *(job for job in jobs if job.folder not in needed)]


def _first_of(plan: Plan, seed: int, recipe: Recipe, out: Path) -> Path | None:
    """The run folder of a row's first stage: of a row that is nothing else, or one below `.first-stages`."""
    if plan.fitted_prior is None:
        return None
    first = plan.first_stage()
    table = first.as_table()
    for row in recipe.plans:
        if row.fitted_prior is None and seed in row.run.seeds and not row.differences(table):
            return out / row.label / f"seed-{seed}"
    for folder in sorted(out.glob(f"*/seed-{seed}")):
        files = RunFolder(folder)
        with contextlib.suppress(RunError):
            if files.fact("finished") and not files.differences(first):
                return folder
    return out / FIRST_STAGES / content_hash(*first.differences({})) / f"seed-{seed}"
