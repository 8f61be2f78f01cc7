"""A row under one seed, and its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from genprior.recipe.load import Recipe
from genprior.recipe.plan import Plan

__all__ = ["Job", "jobs_of"]


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


def jobs_of(recipe: Recipe, out: Path) -> list[Job]:
    """Every row under every seed, in `<out>/<row>/seed-<k>`; seeds outermost, so that a table fills evenly."""
    seeds = sorted({seed for plan in recipe.plans for seed in plan.run.seeds})
    return [
        Job(plan, seed, out / plan.label / f"seed-{seed}")
        for seed in seeds
        for plan in recipe.plans
        if seed in plan.run.seeds
    ]
