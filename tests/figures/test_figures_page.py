"""docs/figures.md is complete, and the rows that figures show are rows of their recipes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import genprior
from genprior import Figure
from genprior_std.parts import PARTS

ROOT = Path(genprior.__file__).parents[1]
PAGE = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
FIGURES = [part for part in PARTS if issubclass(part, Figure)]


def test_the_page_lists_all_figures_in_order():
    named = re.findall(r"^\| `(\w+)` \|", PAGE, re.M)
    assert sorted(named) == sorted(figure.name for figure in FIGURES)
    assert named == sorted(named, key=lambda name: int(re.sub(r"\D", "", name)))


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_the_page_has_the_command_of_each_figure(figure):
    (line,) = re.findall(rf"^\| `{figure.name}` \|.*$", PAGE, re.M)
    (rows,) = figure.recipes
    assert line.endswith(f"| `genprior train {rows.recipe}` |")


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_each_row_of_a_figure_is_a_row_of_its_recipe(figure):
    for path, rows in figure.recipes:
        recipe = genprior.load_recipe(ROOT / path)
        assert [label for label in recipe.order if label in rows] == list(rows)


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_settings_that_the_page_sets_exist(figure):
    settings = re.findall(rf"genprior figure {figure.name} .*?`", PAGE)
    keys = {key for line in settings for key in re.findall(r"--set '?(\w+)=", line)}
    assert keys <= set(figure.Config.model_fields)
