"""Training leaves the report beside the table of a recipe."""

from __future__ import annotations

import genprior

from .conftest import RECIPE
from .page import Page


def test_training_leaves_it_beside_the_table(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("GENPRIOR_REPORT")
    (tmp_path / "two.toml").write_text(RECIPE)
    recipe = genprior.load_recipe(
        tmp_path / "two.toml", rows=["plain"], seeds=[0], settings=["run.steps=2", "scores=[]"]
    )
    genprior.train(recipe, out=tmp_path / "out")
    assert (tmp_path / "out" / "table.json").exists()
    page = Page(tmp_path / "out" / "report.html")
    assert page.data["runs"] == ["plain"] and [each.text for each in page.all("h1")] == ["Two small models"]
