"""The table: means, spreads, what is bold, what is missing."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genprior.report import Cell, Row, Table
from genprior.score import Column

UP, DOWN = Column("up", "up", True), Column("down", "down", False)


def table(rows, columns=(UP,), **more):
    made = tuple(
        Row(
            label,
            tuple(range(len(next(iter(scores.values()))))),
            {k: Cell(tuple(v)) for k, v in scores.items()},
            None,
            None,
        )
        for label, scores in rows.items()
    )
    return Table("title", columns, tuple(made), more.pop("real", {}), **more)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=8))
def test_mean_and_sample_deviation(values):
    cell = Cell(tuple(values))
    mean = sum(values) / len(values)
    assert cell.mean == pytest.approx(mean, abs=1e-9)
    assert cell.std == pytest.approx(math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1)), abs=1e-6)


def test_one_seed_has_no_deviation():
    assert Cell((3.0,)).std is None
    assert str(Cell((3.0,))) == "3.00"
    assert str(Cell((1.0, 3.0))) == "2.00 ± 1.41"


def test_the_best_is_the_highest_or_the_lowest():
    rows = {"a": {"up": [1, 1.1], "down": [1, 1.1]}, "b": {"up": [5, 5.1], "down": [5, 5.1]}}
    both = table(rows, (UP, DOWN))
    assert (both.best(UP), both.best(DOWN)) == ({"b"}, {"a"})


def test_rows_within_two_standard_errors_are_best_together_and_then_nothing_is_bold():
    near = table({"a": {"up": [1, 2, 3]}, "b": {"up": [1.1, 2.1, 3.1]}})
    assert near.best(UP) == {"a", "b"}
    assert "**" not in near.as_markdown()
    far = table({"a": {"up": [1, 2, 3]}, "b": {"up": [11, 12, 13]}})
    assert "**12.00 ± 1.00**" in far.as_markdown()


def test_a_missing_score_is_a_dash_and_a_missing_run_is_named():
    shown = table({"a": {"up": [1]}, "b": {"down": [2]}}, (UP, DOWN), missing=("c/seed-0",)).as_markdown()
    assert "| a | 1.00 | - |" in shown
    assert "Not finished: c/seed-0." in shown


def test_real_images_stand_beside_and_html_is_escaped():
    html = table({"<b>": {"up": [1]}}, real={"up": 9.5}).as_html()
    assert "&lt;b&gt;" in html and "<td>9.50</td>" in html


def test_json_holds_every_value_of_every_seed():
    read = json.loads(json.dumps(table({"a": {"up": [1.5, 2.5]}}).as_json()))
    (row,) = read["rows"]
    assert (row["label"], row["seeds"]) == ("a", [0, 1])
    assert row["scores"]["up"] == {"mean": 2.0, "std": pytest.approx(math.sqrt(0.5)), "values": [1.5, 2.5]}
