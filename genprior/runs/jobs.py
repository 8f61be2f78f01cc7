"""A row under one seed, and its folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from genprior.errors import RunError
from genprior.recipe.load import Recipe
from genprior.recipe.plan import Plan

__all__ = ["Job", "default_folder", "home_of", "jobs_of"]


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
    """Every row under every seed, in `<out>/<row>/seed-<k>`; seeds outermost, so that a table fills evenly."""
    seeds = sorted({seed for plan in recipe.plans for seed in plan.run.seeds})
    return [
        Job(plan, seed, out / plan.label / f"seed-{seed}")
        for seed in seeds
        for plan in recipe.plans
        if seed in plan.run.seeds
    ]
