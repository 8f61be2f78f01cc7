"""Published numbers beside measured ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from genprior.errors import ScoreError
from genprior.registry import installed
from genprior.tables.published import of_plugins, read_published

from .tables import NUMBERS, ROWS, csv_lines, refused, table_of


def test_published_numbers_stand_beside_ours_and_recalled_ones_are_marked(small, call, tmp_path):
    (tmp_path / "numbers.toml").write_text(NUMBERS)
    table, shown = table_of(call, tmp_path, small / "runs", "--published", tmp_path / "numbers.toml")
    found = {row["label"]: [n["value"] for n in row["published"]["parzen"]] for row in table["rows"]}
    assert found == {"AAE": [-12.5], ROWS[1]: [99.0]}
    assert "-12.5 ± 0.25 [1]" in shown and "99 (unverified) [2]" in shown
    assert "[1] published as 'aae'; A paper, Table 7; read in the paper" in shown
    assert "[2] published as 'something else'; recalled, unverified" in shown
    lines = csv_lines(tmp_path)
    assert [(line["published"], line["published_verified"]) for line in lines] == [("-12.5", "True"), ("99.0", "False")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = [", "cannot be read"),
        ("[[numbers]]\nvalue = 1", "holds numbers; a file of published numbers holds"),
        (
            '[[number]]\nmethod = "AAE"\ndata = "digits"\nmetric = "fid"',
            "number 1 is not valid (value: Field required)",
        ),
    ],
)
def test_a_file_of_published_numbers_that_is_none(small, call, tmp_path, text, message):
    (tmp_path / "numbers.toml").write_text(text)
    assert message in refused(call, small / "runs", "--published", tmp_path / "numbers.toml")
    assert "there is no file of published numbers" in refused(call, small / "runs", "--published", tmp_path / "none")


def test_the_standard_parts_carry_their_published_numbers():
    numbers = of_plugins(installed())
    assert {number.value for number in numbers if number.is_of("A+B+C", {"name": "cifar10"}, "inception_score")} == {
        7.31
    }
    assert not [number for number in numbers if number.is_of("A+B+C", {"name": "digits"}, "inception_score")]
    with pytest.raises(ScoreError, match="no file of published numbers"):
        read_published(Path("absent.toml"))
