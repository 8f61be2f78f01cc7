"""What is done for each run, where there are many, does not depend on how many there are."""

from __future__ import annotations

import gc
import weakref

import pytest

from genprior.recipe import load, structure
from genprior.runs import run as runs

from .tables import RECIPE


@pytest.fixture
def alive(monkeypatch):
    """The number of models of runs in memory whenever another one is made."""
    made, counts = [], []
    build = runs.build_model

    def counted(*args):
        gc.collect()
        counts.append(sum(each() is not None for each in made))
        model = build(*args)
        made.append(weakref.ref(model))
        return model

    monkeypatch.setattr(runs, "build_model", counted)
    return counts


def test_the_picture_of_all_rows_holds_one_model_at_a_time(small, copy, call, alive):
    result = call("train", small / "small.toml", "--out", copy, "--jobs", 1)
    assert result.exit_code == 0, result.output
    assert alive == [0, 0]  # of each row the first seed


def test_scores_of_many_runs_hold_one_model_at_a_time(copy, call, alive):
    result = call("bench", copy, "--score", '{ name = "classifier_score", samples = 50 }')
    assert result.exit_code == 0, result.output
    assert alive == [0, 0, 0, 0]


def test_a_label_is_compared_with_no_other_one_by_one(tmp_path, monkeypatch):
    folded = structure.folded
    for module in (load, structure):
        monkeypatch.setattr(module, "folded", lambda label: counts.append(label) or folded(label))
    base, found = RECIPE.partition("[[row]]")[0], {}
    for rows in (20, 40):
        counts = []
        text = "".join(f'[[row]]\nlabel = "r{k}"\n' for k in range(rows))
        (tmp_path / "rows.toml").write_text(base + text)
        load.load_recipe(tmp_path / "rows.toml")
        found[rows] = len(counts)
    assert found[40] == 2 * found[20]
