"""Differences between runs, as `genprior bench`, `show` and training print and write them."""

from __future__ import annotations

import json
import shutil

import pytest

from genprior.tables.formats import FILES

from .tables import ROWS, refused, table_of


@pytest.fixture
def three(small, tmp_path):
    """Copies of one row in three folders, and a function that sets their scores."""
    folders = [shutil.copytree(small / "runs" / "AAE", tmp_path / name / "AAE") for name in "abc"]

    def scored(*values):
        for folder, some in zip(folders, values, strict=True):
            for seed, value in enumerate(some):
                path = folder / f"seed-{seed}" / "scores.json"
                path.write_text(json.dumps(json.loads(path.read_text()) | {"parzen": value}))
        return [folder.parent for folder in folders]

    return scored


def test_three_runs_whose_differences_are_inside_the_spread_have_no_bold(three, call, tmp_path):
    table, shown = table_of(call, tmp_path, *three([-10.0, -12.0], [-11.0, -11.1], [-10.5, -11.0]))
    assert table["bold"] == {}
    compared = table["differences"]["parzen"]
    assert compared["reference"] == f"{tmp_path / 'c'}: AAE"
    assert {each["verdict"] for each in compared["rows"].values()} == {"cannot be told apart"}
    for name in FILES:
        text = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert not any(mark in text for mark in ("**", "<b>", r"\textbf", "Bold")), name
    assert "≈" in shown and "Bold" not in shown


def test_a_row_that_each_seed_says_is_better_is_bold(three, call, tmp_path):
    table, shown = table_of(call, tmp_path, *three([-10.0, -12.0], [-5.0, -7.1], [-10.5, -12.6]))
    best = f"{tmp_path / 'b'}: AAE"
    assert table["bold"] == {"parzen": best} and "worse" in shown
    assert table["differences"]["parzen"]["rows"][f"{tmp_path / 'a'}: AAE"]["seeds"] == [0, 1]
    assert "| **-6.05 ± 1.48** |" in (tmp_path / "out" / "table.md").read_text(encoding="utf-8")


def test_a_row_may_be_the_one_that_differences_are_to(three, call, tmp_path):
    folders = three([-10.0, -12.0], [-5.0, -7.1], [-10.5, -12.6])
    first = f"{tmp_path / 'a'}: AAE"
    table, shown = table_of(call, tmp_path, *folders, "--against", first)
    rows = table["differences"]["parzen"]["rows"]
    assert (
        table["differences"]["parzen"]["reference"] == first and rows[f"{tmp_path / 'b'}: AAE"]["verdict"] == "better"
    )
    assert f"Difference: to '{first}' (0)" in " ".join(shown.split())
    assert "the table has no row 'VAE'" in refused(call, *folders, "--against", "VAE")


def test_show_compares_rows_too(small, call):
    shown = call("show", small / "runs", "--against", "AAE")
    assert "difference of" in shown.stdout and "Difference: to 'AAE' (0)" in " ".join(shown.stdout.split())
    for path in (small / "small.toml", small / "runs" / "AAE" / "seed-0"):
        result = call("show", path, "--against", "AAE")
        assert result.exit_code == 2 and f"--against AAE: {path} is no table" in result.stderr


def test_the_table_of_training_has_the_differences(small):
    table = json.loads((small / "runs" / "table.json").read_text(encoding="utf-8"))
    (compared,) = table["differences"].values()
    assert [each["seeds"] for each in compared["rows"].values()] == [[0, 1]]
    assert "| difference of |" in (small / "runs" / "table.md").read_text(encoding="utf-8")


def test_a_label_that_looks_like_a_numbered_one_is_a_row_of_its_own(small, copy, call, tmp_path):
    """Two recipes of the label AAE in one folder, and a row that its recipe calls `AAE (2)`."""
    shutil.rmtree(copy / ROWS[1])
    for name, old, new in (("AAE", "lr = 0.01", "lr = 0.02"), ("other", 'label = "AAE"', 'label = "AAE (2)"')):
        path = shutil.copytree(copy / "AAE" / "seed-0", copy / name / "seed-7") / "recipe.toml"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
    table, _ = table_of(call, tmp_path, copy)
    assert sorted(len(row["seeds"]) for row in table["rows"]) == [1, 1, 2]
    assert sorted(row["label"] for row in table["rows"]) == ["AAE", "AAE (2)", "AAE (2) (2)"]


def test_a_seed_that_is_there_twice_is_told_and_not_paired(three, call, tmp_path):
    folders = three([-10.0, -12.0], [-5.0, -7.1], [-10.5, -12.6])
    shutil.copytree(folders[0] / "AAE" / "seed-0", folders[0] / "AAE" / "seed-0-copy")
    table, _ = table_of(call, tmp_path, *folders)
    first = f"{folders[0]}: AAE"
    assert any(f"'{first}' has seed 0 twice" in note for note in table["notes"])
    assert table["differences"]["parzen"]["rows"][first]["paired"] is False
