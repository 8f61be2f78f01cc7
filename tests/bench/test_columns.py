"""Columns of a table: one for each protocol with which something was measured."""

from __future__ import annotations

from genprior import Column
from genprior.tables.columns import Entry, Measured, Missed, tabulate
from genprior_std.scores.fid import FID
from genprior_std.scores.nll import NegativeLogLikelihood
from genprior_std.scores.parzen import Parzen

TEXTS, LABELS, GREYS = {"name": "texts"}, {"name": "labels"}, {"name": "greys"}
FEW, MANY = Parzen.Config(samples=60), Parzen.Config(samples=70)


def measured(label, data, value, config=FEW):
    return Entry(label, label, 0, [Measured(config, data, {"parzen": value})])


def missed(label, data, config=FEW, state=""):
    return Entry(label, label, 0, missed=[Missed(config, data, f"{label} cannot")], state=state)


def test_a_score_that_was_not_measured_has_no_protocol():
    for entries in (
        [measured("a", TEXTS, 1.0), missed("b", LABELS)],
        [missed("b", LABELS), measured("a", TEXTS, 1.0)],
        [missed("b", LABELS), measured("a", TEXTS, 1.0), missed("c", GREYS, state="not trained")],
    ):
        table = tabulate("", entries)
        assert [column.key for column in table.columns] == ["parzen"] == list(table.protocols)
        assert table.protocols["parzen"].endswith("real images: texts") and not table.notes
        rows = {row.label: row for row in table.rows}
        assert rows["a"].scores["parzen"].values == (1.0,) and rows["b"].empty == {"parzen": "b cannot"}
        assert rows["c"].empty == {"parzen": "not trained"} if "c" in rows else True


def test_the_reason_stands_in_each_column_that_the_score_may_have():
    table = tabulate("", [measured("a", TEXTS, 1.0), measured("b", LABELS, 2.0), missed("c", GREYS)])
    assert {row.label: row.empty for row in table.rows} == {
        "a": {"parzen@2": "measured with another protocol, in another column"},
        "b": {"parzen": "measured with another protocol, in another column"},
        "c": {"parzen": "c cannot", "parzen@2": "c cannot"},
    }
    assert [note.startswith("'parzen' was measured with 2 protocols") for note in table.notes] == [True]


def test_settings_with_which_nothing_was_measured_have_a_column_that_says_why():
    table = tabulate("", [missed("b", LABELS), missed("c", GREYS)])
    assert [column.key for column in table.columns] == ["parzen"]
    assert [row.empty for row in table.rows] == [{"parzen": "b cannot"}, {"parzen": "c cannot"}]
    table = tabulate("", [measured("a", TEXTS, 1.0), missed("b", LABELS, MANY), missed("c", TEXTS, MANY)])
    assert [column.key for column in table.columns] == ["parzen", "parzen@2"]
    assert [row.empty for row in table.rows] == [
        {"parzen@2": "measured with another protocol, in another column"},
        {"parzen": "not measured with these settings", "parzen@2": "b cannot"},
        {"parzen": "not measured with these settings", "parzen@2": "c cannot"},
    ]


class Two(Parzen):
    """A score whose second number may be left out."""

    name = "two"
    columns = (Column("parzen", "parzen", True), Column("gap", "gap", True, "every image is the same"))


class TwoConfig(Two.Config):
    """Its settings."""

    part = Two


def test_a_number_is_left_out_only_where_its_score_was_measured_with_the_column_s_protocol():
    few, many = TwoConfig(samples=60), TwoConfig(samples=70)
    table = tabulate(
        "",
        [
            Entry("a", "a", 0, [Measured(few, TEXTS, {"parzen": 1.0, "gap": 2.0})]),
            Entry("b", "b", 0, [Measured(few, TEXTS, {"parzen": 1.0})]),
            Entry("c", "c", 0, [Measured(many, TEXTS, {"parzen": 1.0})]),
            Entry("d", "d", 0, [Measured(few, LABELS, {"parzen": 1.0})]),
        ],
    )
    rows = {row.label: row.empty for row in table.rows}
    other = "measured with another protocol, in another column"
    absent = "score 'two' was measured, and gave no 'gap' here: every image is the same"
    assert rows["a"] == dict.fromkeys(("parzen@2", "gap@2", "parzen@3", "gap@3"), other)
    without = dict.fromkeys(("gap", "gap@2", "gap@3"), absent)  # no other column has a number of it
    assert rows["b"] == {"parzen@2": other, "parzen@3": other, **without}
    assert rows["c"] == {"parzen": other, "parzen@3": other, **without}
    assert rows["d"] == {"parzen": other, "parzen@2": other, **without}


def test_an_optional_score_that_gave_nothing_says_so_in_the_column_of_other_settings():
    """No number of this row is in another column, so the note does not send its reader there."""
    few, many = (NegativeLogLikelihood.Config(importance_samples=n, optional=True) for n in (2, 3))
    table = tabulate(
        "",
        [
            Entry("vae", "vae", 0, [Measured(few, TEXTS, {"nll": 9.0, "bits_per_dim": 1.0})]),
            Entry("aae", "aae", 0, [Measured(many, TEXTS, {})]),
        ],
    )
    reason = "score 'nll' was measured, and gave no 'nll' here: p(z), q(z | x) or p(x | z) of the model is not known"
    assert table.rows[1].empty["nll"] == table.rows[1].empty["nll@2"] == reason


def test_a_column_without_any_number_has_no_protocol():
    """So nothing is told of weights that no network used."""
    table = tabulate("", [measured("a", TEXTS, 1.0), Entry("b", "b", 0, missed=[Missed(FID.Config(), TEXTS, "no")])])
    assert [column.key for column in table.columns] == ["parzen", "fid"]
    assert list(table.protocols) == ["parzen"] and "weights" not in str(table)
