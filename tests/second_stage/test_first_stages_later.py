"""What docs/runs.md says of rows that are added, or changed, after a fit."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from genprior import RunError
from genprior.recipe.load import Recipe
from genprior.runs.jobs import FIRST_STAGES

from .test_second_stage import recipe, train


def first_of(out: Path, row: str) -> str:
    """The folder of the first stage that a run names."""
    facts = json.loads((out / row / "seed-0" / "run.json").read_text())
    folder: str = facts["first_stage"]["folder"]
    return folder


def other_fit(label: str) -> Recipe:
    """The row 'affine' with another optimiser of the fit, under a label."""
    changed = recipe(rows=["affine"], settings=("run.fit.optimiser.default.lr=0.5",))
    plan = changed.plans[0].model_copy(update={"label": label})
    return dataclasses.replace(changed, plans=(plan,), order=(label,))


def test_the_row_of_a_first_stage_that_is_added_later_is_trained_and_fitted_rows_keep_theirs(tmp_path: Path) -> None:
    train(recipe(rows=["affine"]), tmp_path)
    before = first_of(tmp_path, "affine")
    assert before.startswith(f"../../{FIRST_STAGES}/")
    train(recipe(rows=["AAE", "affine"]), tmp_path)
    assert (tmp_path / "AAE" / "seed-0" / "metrics.jsonl").exists()
    assert first_of(tmp_path, "affine") == before


def test_another_fit_is_refused_in_a_finished_row_and_shares_the_first_stage_in_a_new_one(tmp_path: Path) -> None:
    train(recipe(rows=["affine"]), tmp_path)
    with pytest.raises(RunError, match=r"run\.fit\.optimiser\.default\.lr"):
        train(other_fit("affine"), tmp_path)
    train(other_fit("affine, fast"), tmp_path)
    assert first_of(tmp_path, "affine, fast") == first_of(tmp_path, "affine")
    assert len(list((tmp_path / FIRST_STAGES).glob("*/seed-0"))) == 1
