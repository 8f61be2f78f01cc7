"""A recipe stands for its runs."""

from __future__ import annotations

import shutil

from .tables import ROWS, refused, row_of, table_of, values


def test_a_recipe_means_its_runs_and_shows_rows_that_are_not_trained(small, copy, call, tmp_path, monkeypatch):
    shutil.rmtree(copy / ROWS[1])
    table, _ = table_of(call, tmp_path, small / "small.toml", "--runs", copy)
    assert [row["label"] for row in table["rows"]] == ROWS
    assert row_of(table, "AAE")["scores"]["parzen"]["values"] == values(copy)["AAE"]
    assert row_of(table, ROWS[1]) == {
        "label": ROWS[1], "seeds": [], "scores": {}, "empty": {"parzen": "not trained"}, "published": {},
        "seconds": None, "images_per_second": None,
    }  # fmt: skip
    assert len(table["missing"]) == 2
    # Without --runs they are below the working folder, as `genprior train` puts them.
    monkeypatch.chdir(tmp_path)
    shutil.copytree(copy, tmp_path / "runs" / "small")
    assert table_of(call, tmp_path, small / "small.toml")[0]["rows"] == table["rows"]


def test_a_recipe_refuses_runs_of_another(small, call, tmp_path):
    said = refused(call, small / "small.toml", "--runs", small / "runs", "--set", "model.code_size=6")
    assert "holds a run that was trained with another recipe" in said
    assert "model.code_size: was 4, is 6" in said and "--with" in said
    assert "there is no finished run" in refused(call, small / "small.toml", "--runs", tmp_path / "none")
    assert "--runs is the run folder of one recipe" in refused(call, small / "runs", "--runs", tmp_path)


def test_a_recipe_and_a_run_of_other_data_are_refused(small, copy, call):
    path = copy / "AAE" / "seed-0" / "recipe.toml"
    path.write_text(path.read_text().replace("size = 8", "size = 16"))
    shutil.rmtree(copy / "AAE" / "seed-1")
    shutil.rmtree(copy / ROWS[1])
    said = refused(call, small / "small.toml", copy, "--runs", small / "runs")
    assert "was trained on other data than the rows of" in said and '"size": 16' in said and '"size": 8' in said
    # Two folders of runs are compared, each in a column of its own.
    result = call("bench", small / "runs", copy)
    assert result.exit_code == 0 and "2 protocols that cannot be compared" in result.stdout
