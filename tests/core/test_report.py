"""The table: means, spreads, what is bold, what is missing."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genprior.errors import RunError
from genprior.parts import Column
from genprior.tables.escape import escaped
from genprior.tables.formats import as_csv, as_latex, write_table
from genprior.tables.published import Beside, Published
from genprior.tables.table import Cell, Row, Table, best_first

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


def test_a_row_that_is_not_there_is_told_of():
    with pytest.raises(RunError, match="the table has no row 'AEA'; did you mean 'AAE'"):
        table({"AAE": {"up": [1.0]}, "B": {"up": [2.0]}}).row("AEA")


def test_a_column_without_a_direction_has_no_best_and_orders_no_rows():
    neither = Column("neither", "neither", None)
    shown = table({"a": {"neither": [1.0], "up": [2.0]}, "b": {"neither": [9.0], "up": [3.0]}}, columns=(neither, UP))
    assert shown.best(neither) == set()
    assert shown.bold(neither) is None
    assert [row.label for row in best_first(shown).rows] == ["b", "a"]  # by the first column that has a direction
    assert "| row | neither | up ↑ |" in shown.as_markdown()
    assert shown.as_json()["columns"][0]["higher_is_better"] is None
    assert "neither,neither,,1.0" in as_csv(shown)


@pytest.mark.parametrize(
    ("values", "shown"),
    [((0.00152,), "0.00152"), ((0.5, 0.7), "0.600 ± 0.141"), ((0.0,), "0.00"), ((-84.512,), "-84.51")],
)
def test_small_numbers_show_their_digits(values, shown):
    assert str(Cell(values)) == shown


def full_table():
    """One row with all that a table can say, and one without numbers."""
    number = Published(method="x", data="d", metric="up", value=3.5, spread=0.5, paper="A & B", source="recalled")
    rows = (
        Row("a_1|2", (0, 1), {"up": Cell((1.0, 2.0))}, None, None, {"down": "not measured"}, {"up": (Beside(number),)}),
        Row("b", (), {}, None, None, {"up": "not trained", "down": "not trained"}),
    )
    return Table("All of 100%", (UP, DOWN), rows, {}, (), {"up": "50 samples, real images: d"})


def test_reasons_protocols_and_published_numbers_stand_below_the_table():
    header, lines, notes = full_table().layout()
    assert header == ["row", "up ↑", "published", "down ↓"]
    assert lines == [
        ["a_1|2", "1.50 ± 0.71", "3.5 ± 0.5 (unverified) [1]", "- [2]"],
        ["b", "- [3]", "-", "- [3]"],
    ]
    assert notes == [
        "published as 'x'; A & B; recalled; ± of unknown kind; protocol unknown",
        "not measured",
        "not trained",
    ]
    markdown, html = full_table().as_markdown(), full_table().as_html()
    for text in ("[3] not trained", "up: 50 samples, real images: d"):
        assert text in markdown and text in html
    assert "a_1\\|2" in markdown and "A &amp; B" in html
    read = json.loads(json.dumps(full_table().as_json()))
    assert read["rows"][1]["empty"] == {"up": "not trained", "down": "not trained"}
    assert (read["rows"][0]["published"]["up"][0]["value"], read["protocols"]) == (3.5, full_table().protocols)


def test_csv_holds_every_value_and_why_there_is_none():
    lines = list(csv.DictReader(io.StringIO(as_csv(full_table()))))
    places = [(line["row"], line["score"]) for line in lines]
    assert places == [("a_1|2", "up"), ("a_1|2", "down"), ("b", "up"), ("b", "down")]
    first, *_, last = lines
    assert (first["values"], first["mean"], float(first["std"])) == ("1.0 2.0", "1.5", pytest.approx(math.sqrt(0.5)))
    assert (first["published"], first["published_verified"]) == ("3.5", "False")
    assert (last["mean"], last["empty"]) == ("", "not trained")


@given(st.text(alphabet="ab\\&%$#_{}~^<>|±↑↓ ", max_size=20))
def test_nothing_that_latex_would_take_for_a_command_is_left(text):
    words = r"\\text(backslash|asciitilde|asciicircum|less|greater|bar)\{\}|\$\\(pm|uparrow|downarrow)\$"
    plain = re.sub(r"\\[&%$#_{}]", "", re.sub(words, "", escaped(text)))
    assert not set(plain) & set("\\&%$#_{}~^<>|±↑↓")


def test_latex_has_as_many_cells_in_each_line_and_the_best_in_bold():
    text = as_latex(table({"a & b": {"up": [1, 2, 3]}, "[c]": {"up": [11, 12, 13]}}))
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert [len(re.findall(r"(?<!\\)&", line)) for line in lines] == [1] * 6
    assert lines[1].startswith(r"{a \& b} & ") and lines[2] == r"{[c]} & \textbf{12.00 $\pm$ 1.00} \\"
    for word in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{lr}"):
        assert text.count(word) == 2  # of the scores, and of their differences
    assert lines[3:] == [
        "{difference of} & up $\\uparrow$ \\\\",
        "{a \\& b} & -10.00 $\\pm$ 0.00 worse \\\\",
        "{[c]} & 0 \\\\",
    ]


def test_a_missing_score_is_a_dash_and_a_missing_run_is_named():
    shown = table({"a": {"up": [1]}, "b": {"down": [2]}}, (UP, DOWN), missing=("c/seed-0",)).as_markdown()
    assert "| a | 1.00 | - |" in shown
    assert "Not finished: c/seed-0." in shown


def test_real_images_stand_beside_and_html_is_escaped():
    html = table({"<b>": {"up": [1]}}, real={"up": 9.5}).as_html()
    assert "&lt;b&gt;" in html and "<td>9.50</td>" in html


def test_caveats_and_notes_stand_below_the_columns_that_they_are_of():
    rows = {"a": {"up": [1], "down": [1]}}
    told = {"caveats": {"up": "Not as published.", "down": "Not as published."}, "notes": ("Two recipes.",)}
    both, none = table(rows, (UP, DOWN), **told), table(rows, (Column("other", "other", True),), **told)
    assert both.footnote() == "One seed. ↑ higher is better, ↓ lower is better. Not as published."
    assert "Not as published" not in none.footnote()
    assert both.as_markdown().endswith("\n\nTwo recipes.\n") and "Two recipes." in both.as_html()
    assert (both.as_json()["caveats"], both.as_json()["notes"]) == (told["caveats"], ["Two recipes."])


def test_a_table_is_written_in_the_formats_that_are_asked_for(tmp_path):
    made = table({"a": {"up": [1]}})
    write_table(made, tmp_path / "some", ("table.json", "table.html"), "rows.png")
    assert {path.name for path in (tmp_path / "some").iterdir()} == {"table.json", "table.html"}
    assert '<img src="rows.png"' in (tmp_path / "some" / "table.html").read_text()
    assert json.loads((tmp_path / "some" / "table.json").read_text()) == made.as_json()
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"the table cannot be written into .*file: .*; give another --out"):
        write_table(made, tmp_path / "file")


def test_json_holds_every_value_of_every_seed():
    read = json.loads(json.dumps(table({"a": {"up": [1.5, 2.5]}}).as_json()))
    (row,) = read["rows"]
    assert (row["label"], row["seeds"]) == ("a", [0, 1])
    assert row["scores"]["up"] == {"mean": 2.0, "std": pytest.approx(math.sqrt(0.5)), "values": [1.5, 2.5]}


def test_a_printed_table_is_text_in_columns_with_its_notes():
    made = table({"a": {"up": [1, 2, 3]}, "a long label": {"up": [11, 12, 13]}}, (UP, DOWN), missing=("c/seed-0",))
    shown = str(dataclasses.replace(made, notes=("x" * 30 + " " + "y" * 90, "\x1b[31m")))
    title, grid, differences, below, notes = shown.split("\n\n")
    header, rule, *lines = grid.splitlines()
    assert title == made.title and set(rule) == {"-"} and len(rule) == max(map(len, [header, *lines]))
    assert [line.split() for line in lines] == [
        ["a", "2.00", "±", "1.00", "-"],
        ["a", "long", "label", "12.00", "±", "1.00", "-"],
    ]
    assert [line.split()[-1] for line in differences.splitlines()[2:]] == ["worse", "0"]
    # Columns of numbers end at the same place, and bold is of Markdown alone.
    assert len({line.index("±") for line in lines}) == 1 and "**" not in shown
    assert made.footnote() == " ".join(below.split()) and "Not finished: c/seed-0." in below
    assert notes.splitlines() == ["Note: " + "x" * 30, "y" * 90, "Note: \\x1b[31m"]
    assert made._repr_markdown_() == made.as_markdown()
