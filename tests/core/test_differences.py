"""Differences between rows of a table over seeds: what is better, worse, or cannot be told apart, and what is bold."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy import stats

from genprior.cli.table_screen import render_table
from genprior.parts import Column
from genprior.tables.formats import as_csv, as_latex
from genprior.tables.rows import Cell, Row
from genprior.tables.table import Table

UP, DOWN = Column("up", "up", True), Column("down", "down", False)
NEAR = {"a": {0: 1.0, 1: 2.0, 2: 3.0}, "b": {0: 1.2, 1: 1.9, 2: 3.1}, "c": {0: 0.9, 1: 2.2, 2: 2.8}}
FAR = {"a": {0: 1.0, 1: 2.0, 2: 3.0}, "b": {0: 11.0, 1: 12.1, 2: 13.0}, "c": {0: 1.1, 1: 1.9, 2: 3.2}}


def table(rows, columns=(UP,), **more):
    """A table of rows with values by seed; rows whose values are a list are sets of images, without seeds."""
    made = []
    for label, values in rows.items():
        seeds, numbers = (tuple(values), tuple(values.values())) if isinstance(values, dict) else ((), tuple(values))
        made.append(Row(label, seeds, {column.key: Cell(numbers) for column in columns}, None, None))
    return Table("title", columns, tuple(made), {}, **more)


def verdicts(made, column=UP):
    return {label: each.verdict for label, each in made.compared(column).differences.items()}


VALUES = st.lists(st.floats(-10, 10), min_size=3, max_size=5)


@settings(max_examples=60)
@given(st.lists(VALUES, min_size=2, max_size=4))
def test_one_row_is_bold_only_if_every_other_one_is_worse_by_the_paired_test_and_holm(values):
    """Against the paired t-test of SciPy, and Holm's rule in its step-down form."""
    n = min(map(len, values))
    rows = {f"row {place}": dict(enumerate(some[:n])) for place, some in enumerate(values)}
    means = {label: sum(some.values()) / n for label, some in rows.items()}
    best = max(means, key=means.get)
    assume(sorted(means.values())[-1] - sorted(means.values())[-2] > 1e-6)
    others = [label for label in rows if label != best]
    p = sorted(stats.ttest_rel(list(rows[best].values()), list(rows[label].values())).pvalue for label in others)
    assume(all(abs(each - 0.05 / (len(p) - place)) > 1e-6 for place, each in enumerate(p)))
    expected = best if all(each < 0.05 / (len(p) - place) for place, each in enumerate(p)) else None
    made = table(rows)
    assert made.bold(UP) == expected
    assert ("**" in made.as_markdown()) == (expected is not None)


def test_differences_inside_the_spread_leave_nothing_bold_and_are_not_told_apart():
    made = table(NEAR)
    assert made.best(UP) == {"a", "b", "c"} and made.bold(UP) is None
    assert verdicts(made) == {"a": "cannot be told apart", "c": "cannot be told apart"}
    assert "**" not in made.as_markdown() and "<b>" not in made.as_html() and "textbf" not in as_latex(made)
    assert "Bold" not in made.footnote()


def test_a_spread_that_seeds_share_does_not_hide_a_difference():
    """The paired difference is .1 under each seed, while the seeds themselves differ by 1."""
    made = table({"a": {0: 1.0, 1: 2.0, 2: 3.0}, "b": {0: 1.1, 1: 2.1, 2: 3.1000001}})
    assert made.bold(UP) == "b" and verdicts(made) == {"a": "worse"}


def test_lower_may_be_better():
    assert table(FAR, (DOWN,)).best(DOWN) == {"a", "c"}
    assert table(FAR).bold(UP) == "b" and verdicts(table(FAR)) == {"a": "worse", "c": "worse"}


@pytest.mark.parametrize("others", [{0: 1.0}, {5: 1.0}, [1.0]])
@pytest.mark.parametrize("values", [{0: 9.0}, {0: 9.0, 1: 9.1, 2: 9.2}])
def test_one_seed_is_never_better_nor_worse(values, others):
    made = table({"a": values, "b": others})
    assert made.bold(UP) is None and verdicts(made) == {"b": "one seed"}
    assert "one seed" in made.footnote().lower()


def test_equal_rows_are_equal():
    made = table({"a": {0: 1.0, 1: 2.0}, "b": {0: 1.0, 1: 2.0}})
    assert verdicts(made) == {"b": "cannot be told apart"} and made.bold(UP) is None


def test_other_seeds_are_paired_where_both_have_them_and_else_compared_by_their_means():
    """Against SciPy's paired test and Welch's."""
    best = {0: 5.0, 1: 6.1, 2: 7.0, 3: 6.5}
    paired, unpaired = {2: 1.0, 3: 1.5, 4: 9.0}, {7: 1.0, 8: 1.2, 9: 0.5}
    made = table({"best": best, "paired": paired, "unpaired": unpaired})
    first, second = (made.compared(UP).differences[label] for label in ("paired", "unpaired"))
    assert (first.seeds, first.paired, second.seeds, second.paired) == ((2, 3), True, (), False)
    assert first.p == pytest.approx(stats.ttest_rel([1.0, 1.5], [7.0, 6.5]).pvalue)
    welch = stats.ttest_ind(list(unpaired.values()), list(best.values()), equal_var=False)
    assert second.p == pytest.approx(welch.pvalue)
    assert second.interval == pytest.approx(tuple(welch.confidence_interval()))
    assert "+" not in made.lines_of_differences()[3][1] and "unpaired" in made.lines_of_differences()[3][1]
    assert "Unpaired: fewer than two seeds are shared" in made.footnote()
    assert "Unpaired" not in table(NEAR).footnote()


def test_a_row_that_lost_by_chance_is_not_bold_beside_a_better_one():
    """The best mean is of seeds that the other row lacks; under the shared ones the other row is better."""
    made = table({"a": {0: 1.0, 1: 1.1, 2: 30.0}, "b": {0: 2.0, 1: 2.1}})
    assert verdicts(made) == {"b": "better"} and made.bold(UP) is None


def test_many_rows_need_a_clearer_difference_than_two():
    """Of one comparison p = .03 is worse; of six it cannot be told apart."""
    best, other = {0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0}, {0: 0.5, 1: 0.95, 2: 0.6, 3: 0.7}
    assert 0.01 < stats.ttest_rel(list(best.values()), list(other.values())).pvalue < 0.05
    assert table({"best": best, "other": other}).bold(UP) == "best"
    many = {f"other {place}": other for place in range(6)}
    assert table({"best": best, **many}).bold(UP) is None


def test_every_format_has_the_differences():
    made = table(FAR)
    cells = {"a": "-10.03 ± 0.03 worse", "b": "0", "c": "-9.97 ± 0.12 worse"}
    assert made.lines_of_differences() == [["difference of", "up ↑"], *map(list, cells.items())]
    markdown, html, latex, text = made.as_markdown(), made.as_html(), as_latex(made), str(made)
    out = Console(file=io.StringIO(), width=150, color_system=None)
    out.print(render_table(made))
    for shown in (markdown, html, text, out.file.getvalue()):
        assert all(cell in shown for cell in cells.values())
        assert "paired t-test, by Holm's method" in " ".join(shown.replace("&#x27;", "'").split())
        assert "Bold: every other row is worse." in " ".join(shown.split())
    assert r"-10.03 $\pm$ 0.03 worse" in latex
    read = json.loads(json.dumps(made.as_json()))
    assert read["bold"] == {"up": "b"} and read["differences"]["up"]["reference"] == "b"
    a = read["differences"]["up"]["rows"]["a"]
    assert (a["seeds"], a["verdict"], a["paired"]) == ([0, 1, 2], "worse", True)
    assert a["values"] == pytest.approx([-10.0, -10.1, -10.0]) and a["mean"] == pytest.approx(-10.0333, abs=1e-4)
    assert a["error"] == pytest.approx(1 / 30) and a["p_holm"] >= a["p"]
    lines = {line["row"]: line for line in csv.DictReader(io.StringIO(as_csv(made)))}
    assert (lines["a"]["difference_to"], lines["a"]["difference_seeds"], lines["a"]["verdict"]) == (
        "b",
        "0 1 2",
        "worse",
    )
    assert float(lines["a"]["difference"]) == a["mean"] and float(lines["a"]["difference_p"]) == a["p_holm"]
    assert lines["b"]["verdict"] == lines["b"]["difference"] == ""


def test_not_told_apart_is_a_sign_in_cells_that_latex_knows_and_words_in_files_for_programs():
    made = table(NEAR)
    assert made.lines_of_differences()[3][1] == "-0.100 ± 0.200 ≈"
    assert "≈: cannot be told apart" in made.footnote() and r"$\approx$" in as_latex(made)
    assert "cannot be told apart" in as_csv(made)


def test_rows_of_one_seed_have_no_table_of_differences():
    made = table({"a": {0: 1.0}, "b": {0: 2.0}})
    assert made.lines_of_differences() == [] and "difference" not in made.as_markdown()
    assert made.footnote().startswith("One seed, so no row is better or worse.")


def test_one_or_two_seeds_are_advised_to_be_more():
    words = "One or two seeds seldom tell rows apart: use more, as with --seeds 0,1,2,3,4."
    one, two = ({label: {k: some[k] for k in range(n)} for label, some in NEAR.items()} for n in (1, 2))
    assert words in table(one).footnote() and words in table(two).footnote()
    assert words not in table(NEAR).footnote()  # three seeds
    assert words not in table({"a": {0: 1.0}}).footnote()  # nothing to compare
    assert words not in table({"a": [1.0], "b": [2.0]}).footnote()  # images have no seeds


@pytest.mark.parametrize(
    ("protocols", "lines"),
    [
        (
            {
                "up": "network n, 10 splits, real images: x (a = 1, b = 2)",
                "down": "network n, real images: x (a = 1, b = 2)",
            },
            ["all columns: network n, real images: x (a = 1, b = 2)", "up: 10 splits"],
        ),
        ({"up": "m, real images: x (a = 1, b = 2)", "down": "real images: x (a = 1, b = 3)"}, None),
        ({"up": "m, real images: x", "down": "m, real images: x"}, ["up, down: m, real images: x"]),
        ({"up": "m, real images: x"}, ["up: m, real images: x"]),
        ({}, []),
    ],
)
def test_a_screen_says_once_what_all_protocols_have_in_common(protocols, lines):
    made = table(NEAR, (UP, DOWN), protocols=protocols)
    assert made.short_protocol() == (made.protocol() if lines is None else lines)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render_table(made))
    shown = console.export_text()
    assert all(f"Protocol of {line}" in shown and f"Protocol of {line}" in str(made) for line in made.short_protocol())
    assert all(line in made.as_markdown() for line in made.protocol())


def test_differences_are_to_the_row_that_is_given():
    made = table(FAR, against="a")
    assert [line[1] for line in made.lines_of_differences()[1:]] == ["0", "+10.03 ± 0.03 better", "+0.0667 ± 0.0882 ≈"]
    assert made.bold(UP) == "b" and "Difference: to 'a' (0)" in made.footnote()
