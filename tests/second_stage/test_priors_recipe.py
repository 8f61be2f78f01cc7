"""The recipe that compares priors: what is shared, and what its rows are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import genprior
from genprior.runs.jobs import FIRST_STAGES, jobs_of, with_first_stages

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("size", [[], ["quick"], ["mnist"], ["fashion_mnist"]])
def test_ten_fitted_priors_of_one_autoencoder_train_it_once_a_seed(size: list[str], tmp_path: Path) -> None:
    recipe = genprior.load_recipe(ROOT / "recipes" / "priors.toml", changes=size, seeds=[0, 1])
    jobs = with_first_stages(jobs_of(recipe, tmp_path))
    assert not any(FIRST_STAGES in str(job.folder) for job in jobs)  # each first stage is a row of its own
    assert len(jobs) == 2 * len(recipe.plans)
    shared = Counter(job.first for job in jobs if job.first is not None)
    assert {folder: count for folder, count in shared.items() if folder.parent.name == "Gaussian"} == {
        tmp_path / "Gaussian" / "seed-0": 10,
        tmp_path / "Gaussian" / "seed-1": 10,
    }
    place = {job.folder: number for number, job in enumerate(jobs)}
    assert all(place[job.first] < place[job.folder] for job in jobs if job.first is not None)


def test_the_rows_are_more_than_twenty_priors() -> None:
    recipe = genprior.load_recipe(ROOT / "recipes" / "priors.toml")
    priors = {
        (plan.model.name, plan.model.prior.name, plan.fitted_prior and plan.fitted_prior.name) for plan in recipe.plans
    }
    assert len(priors) > 25
