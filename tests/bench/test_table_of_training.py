"""The table that training writes is the one that bench shows of its folder."""

from __future__ import annotations

import json
import shutil

from genprior.errors import ScoreError
from genprior.recipe.load import load_recipe
from genprior.runs.jobs import jobs_of
from genprior.tables.gather import table_of_jobs
from genprior.tables.published import read_published

from .tables import NUMBERS, PARZEN, RECIPE, ROWS, table_of


def numbers(monkeypatch, tmp_path):
    """Let the installed plugins have published numbers of these rows."""
    (tmp_path / "numbers.toml").write_text(NUMBERS)
    for module in ("genprior.bench.bench", "genprior.tables.gather"):
        monkeypatch.setattr(f"{module}.of_plugins", lambda registry: read_published(tmp_path / "numbers.toml"))


def test_training_writes_the_table_that_bench_shows_of_its_folder(small, copy, call, tmp_path, monkeypatch):
    numbers(monkeypatch, tmp_path)
    result = call("train", small / "small.toml", "--out", copy, "--jobs", 1)
    assert result.exit_code == 0, result.output
    trained = json.loads((copy / "table.json").read_text())
    benched, shown = table_of(call, tmp_path, copy)
    assert trained == benched
    assert [[n["value"] for n in row["published"]["parzen"]] for row in trained["rows"]] == [[-12.5], [99.0]]
    assert trained["protocols"]["parzen"].startswith("60 samples, validation 50, real images: digits (")
    assert (copy / "table.md").read_text() == (tmp_path / "out" / "table.md").read_text()
    # On the screen too, and under `genprior show`.
    for line in shown.splitlines():
        if str(tmp_path / "out") not in line:
            assert line in result.stdout and line in call("show", copy).stdout


def test_rows_scored_with_other_settings_have_columns_of_their_own_in_the_table_of_training(call, tmp_path):
    text = RECIPE.replace("seeds = [0, 1]", "seeds = [0]").replace(
        "[change.A.model]", f"[change.A]\nscores = [{PARZEN.replace('= 60', '= 40')}]\n[change.A.model]"
    )
    (tmp_path / "two.toml").write_text(text, encoding="utf-8")
    result = call("train", tmp_path / "two.toml", "--out", tmp_path / "runs", "--jobs", 1)
    assert result.exit_code == 0, result.output
    table = json.loads((tmp_path / "runs" / "table.json").read_text())
    assert [column["key"] for column in table["columns"]] == ["parzen", "parzen@2"]
    assert [sorted(row["scores"].keys() & {"parzen", "parzen@2"}) for row in table["rows"]] == [
        ["parzen"],
        ["parzen@2"],
    ]
    assert [list(row["empty"].values()) for row in table["rows"]] == [
        ["measured with another protocol, in another column"]
    ] * 2
    assert "Note: 'parzen' was measured with 2 protocols that cannot be compared" in result.stdout
    assert table["notes"][0] in (tmp_path / "runs" / "table.md").read_text()


def test_published_numbers_that_cannot_be_read_stop_no_table_of_training(small, copy, call, monkeypatch):
    def broken(registry):
        raise ScoreError("the published numbers in x.toml cannot be read")

    monkeypatch.setattr("genprior.tables.gather.of_plugins", broken)
    shutil.rmtree(copy / "AAE" / "seed-1")
    (copy / "table.json").unlink()
    table = table_of_jobs(load_recipe(small / "small.toml"), jobs_of(load_recipe(small / "small.toml"), copy), copy)
    assert [row.label for row in table.rows] == ROWS and table.missing == ("AAE/seed-1",)
    assert table.notes == ("the published numbers in x.toml cannot be read",)
    assert "Note: the published numbers in x.toml cannot be read" in call("show", copy).stdout
