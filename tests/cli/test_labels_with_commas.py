"""A label that has commas is one label in every command that takes `--rows`, and a part of a list of labels."""

from __future__ import annotations

import json
import shutil

import pytest

from genprior.recipe.load import load_recipe
from genprior.runs.figure_runs import RunsWanted, figure_runs
from genprior_std.figures.fig10_supervised import SupervisedGrid

from .conftest import TINY

LABEL = "AAE, learned (A)"
TEXT = 'scores = [{ name = "code_mmd" }]\n' + TINY.replace('"[A]"', f'"{LABEL}"')


@pytest.fixture(scope="module")
def home(tmp_path_factory, call):
    """A recipe whose one label begins another one, and its runs."""
    folder = tmp_path_factory.mktemp("commas")
    (folder / "commas.toml").write_text(TEXT, encoding="utf-8")
    result = call("train", folder / "commas.toml", "--rows", f"{LABEL},AAE", "--out", folder / "runs", "--jobs", 1)
    assert result.exit_code == 0, result.output
    return folder


@pytest.mark.parametrize("rows", [LABEL, f" {LABEL}"])
def test_check_takes_it_as_one_row(rows, home, call):
    result = call("check", home / "commas.toml", "--rows", rows)
    assert result.exit_code == 0, result.output
    assert "ok: 1 row" in result.output and LABEL in result.output


def test_train_trained_both(home):
    assert sorted(each.name for each in (home / "runs").iterdir() if each.is_dir()) == ["AAE", LABEL]


@pytest.mark.parametrize(("rows", "ranked"), [(LABEL, [LABEL]), (f"AAE,{LABEL}", [LABEL, "AAE"])])
def test_priors_ranks_it(rows, ranked, home, call, tmp_path):
    """A row that is asked for and has no run comes last, one that is not asked for is not told."""
    shutil.copytree(home / "runs" / LABEL, tmp_path / "runs" / LABEL)
    again = ("--no-train", "--out", tmp_path / "runs", "--json")
    result = call("priors", home / "commas.toml", "--rows", rows, *again)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["rows"]
    assert [row["label"] for row in found] == ranked
    assert "code_mmd" in found[0]["scores"]


def test_bench_of_the_runs_shows_it_as_one_row(home, call):
    shown = call("bench", home / "runs", "--out", home / "bench")
    assert shown.exit_code == 0, shown.output
    labels = [row["label"] for row in json.loads((home / "bench" / "table.json").read_text())["rows"]]
    assert labels == [LABEL, "AAE"] or labels == ["AAE", LABEL]


@pytest.mark.parametrize(("rows", "shown"), [([LABEL], [LABEL]), ([f"AAE,{LABEL}"], ["AAE", LABEL])])
def test_figures_show_it_beside_others(rows, shown, home):
    runs = figure_runs(SupervisedGrid, RunsWanted((home / "runs",), (), tuple(rows), None))
    assert [run.label for run in runs] == shown


def test_python_reads_it(home):
    assert [plan.label for plan in load_recipe(home / "commas.toml", rows=[f"{LABEL}, AAE"]).plans] == ["AAE", LABEL]
