"""The table of a folder holds all its finished rows, and no file is overwritten that genprior did not write."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

import genprior
from genprior.errors import RecipeError, RunError
from genprior.runs.jobs import jobs_of
from genprior.tables.formats import FILES, refuse_foreign
from genprior.tables.gather import TABLE_FILES, write_table_of_jobs


@pytest.fixture
def table(trained, tmp_path) -> Path:
    """A copy of the folder of a finished table."""
    return shutil.copytree(trained, tmp_path / "table")


def rows_of(folder: Path) -> list[tuple[str, list[int]]]:
    return [(row["label"], row["seeds"]) for row in json.loads((folder / "table.json").read_text())["rows"]]


def test_rows_and_seeds_that_are_not_trained_this_time_stay_in_the_table(trained, table, call):
    recipe = trained.parent / "tiny.toml"
    before = {name: (table / name).read_bytes() for name in TABLE_FILES}
    result = call("train", recipe, "--out", table, "--jobs", 1, "--rows", "[A]")
    assert result.exit_code == 0 and "│ AAE │" in result.stdout
    assert {name: (table / name).read_bytes() for name in TABLE_FILES} == before
    assert call("train", recipe, "--out", table, "--jobs", 1, "--rows", "AAE", "--seeds", "1").exit_code == 0
    assert rows_of(table) == [("AAE", [0, 1]), ("[A]", [0])]


def test_rows_stand_in_the_order_of_the_recipe_whichever_was_trained_first(trained, call, tmp_path):
    recipe = trained.parent / "tiny.toml"
    for row in ("[A]", "AAE"):
        assert call("train", recipe, "--out", tmp_path / "out", "--jobs", 1, "--rows", row).exit_code == 0
    assert [label for label, _ in rows_of(tmp_path / "out")] == ["AAE", "[A]"]


def test_the_own_recipe_of_a_run_leaves_the_order_of_the_rows(table, call, monkeypatch):
    before = {name: (table / name).read_bytes() for name in TABLE_FILES}
    assert rows_of(table) == [("AAE", [0]), ("[A]", [0])]
    for label in ("[A]", "AAE"):
        result = call("train", table / label / "seed-0" / "recipe.toml", "--jobs", 1)
        assert result.exit_code == 0 and "was finished before" in result.stderr
        assert {name: (table / name).read_bytes() for name in TABLE_FILES} == before


def test_another_row_that_is_unfinished_or_without_checkpoint_is_told(trained, table, call):
    (table / "AAE" / "seed-0" / "run.json").write_text("")
    shutil.copytree(table / "[A]", table / "old")
    shutil.rmtree(table / "old" / "seed-0" / "checkpoints")
    recipe = (table / "old" / "seed-0" / "recipe.toml").read_text()
    (table / "old" / "seed-0" / "recipe.toml").write_text(recipe.replace('label = "[A]"', 'label = "old"'))
    result = call("train", trained.parent / "tiny.toml", "--out", table, "--jobs", 1, "--rows", "[A]")
    assert result.exit_code == 0, result.output
    written = json.loads((table / "table.json").read_text())
    assert [row["label"] for row in written["rows"]] == ["[A]", "old"] and written["missing"] == ["AAE/seed-0"]
    assert any("run.json is damaged (it is empty, as after a power cut)" in note for note in written["notes"])
    assert any(note.startswith("rows.png lacks 'old': ") for note in written["notes"])


@pytest.mark.parametrize("name", TABLE_FILES)
def test_training_overwrites_no_file_of_the_user(recipe, call, name):
    out = recipe.parent / "mine"
    out.mkdir()
    if name == "rows.png":
        Image.new("L", (2, 2)).save(out / name)
    else:
        (out / name).write_text('{"title": "my notes"}')
    before = (out / name).read_bytes()
    result = call("train", recipe, "--out", out, "--jobs", 1)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == (
        f"error: {out / name} was not written by genprior, or is damaged, and would be overwritten. "
        "Nothing was changed. Move that file, or give another --out."
    )
    assert [path.name for path in out.iterdir()] == [name] and (out / name).read_bytes() == before


@pytest.mark.parametrize("name", FILES)
def test_bench_overwrites_no_file_of_the_user(trained, call, tmp_path, name):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("row,score\nmy notes\n")
    result = call("bench", trained, "--out", out)
    assert result.exit_code == 2 and f"{out / name} was not written by genprior" in result.stderr
    assert [path.name for path in out.iterdir()] == [name] and (out / name).read_text() == "row,score\nmy notes\n"
    # Its own tables it writes again.
    assert [call("bench", trained, "--out", tmp_path / "own").exit_code for _ in range(2)] == [0, 0]


def test_every_table_of_training_is_recognised(table):
    written = {path.name for path in table.iterdir()} & set(TABLE_FILES)
    assert {"table.json", "table.md", "table.html"} <= written
    assert refuse_foreign(table, TABLE_FILES) is None  # a file that is not recognised raises a RunError


def test_a_table_without_rows_keeps_no_picture_and_is_written_again(trained, table, call):
    recipe = genprior.load_recipe(trained.parent / "tiny.toml")
    for row in ("AAE", "[A]"):
        shutil.rmtree(table / row)
    write_table_of_jobs(recipe, jobs_of(recipe, table), table)
    assert not (table / "rows.png").exists() and "rows.png" not in (table / "table.html").read_text()
    assert refuse_foreign(table, TABLE_FILES) is None


def test_the_picture_is_kept_where_only_the_checkpoints_are_gone(trained, table):
    recipe = genprior.load_recipe(trained.parent / "tiny.toml")
    before = (table / "rows.png").read_bytes()
    for folder in table.glob("*/*/checkpoints"):
        shutil.rmtree(folder)
    table_without_it = write_table_of_jobs(recipe, jobs_of(recipe, table), table)
    assert any("rows.png lacks 'AAE'" in note for note in table_without_it.notes)
    assert (table / "rows.png").read_bytes() == before and refuse_foreign(table, TABLE_FILES) is None


def test_the_picture_is_recognised_by_itself_and_an_older_one_by_its_page(table):
    (table / "table.html").rename(table / "page")
    assert refuse_foreign(table, TABLE_FILES) is None
    with Image.open(table / "rows.png") as picture:
        assert picture.info["Software"] == "genprior"
    Image.new("L", (2, 2)).save(table / "rows.png")
    with pytest.raises(RunError, match=r"rows\.png was not written by genprior, or is damaged"):
        refuse_foreign(table, TABLE_FILES)
    (table / "page").rename(table / "table.html")
    assert refuse_foreign(table, TABLE_FILES) is None


def test_no_row_is_refused(recipe, trained, table, call):
    before = (table / "table.json").read_bytes()
    result = call("train", trained.parent / "tiny.toml", "--out", table, "--rows", "")
    assert result.exit_code == 2 and "row" in result.stderr
    loaded = genprior.load_recipe(recipe)
    with pytest.raises(RecipeError, match="no row of the recipe 'tiny' is chosen, .*; name the rows, or leave"):
        genprior.train(loaded, rows=[], out=table)
    assert (table / "table.json").read_bytes() == before
