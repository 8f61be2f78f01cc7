"""`genprior show RECIPE`: the first row whole, and what differs in the others."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from genprior.cli.print_recipe import differences
from genprior.recipe.changes import leaves
from genprior.recipe.load import load_recipe

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").rglob("*.toml"))


def set_by(lines):
    return dict(leaves(tomllib.loads("\n".join(lines))))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_differences_are_what_a_row_has_and_the_first_row_has_not(path):
    first, *others = load_recipe(path).plans
    for plan in others:
        lines = differences(first, plan)
        base, whole, given = dict(leaves(first.as_table())), dict(leaves(plan.as_table())), set_by(lines)
        assert given == {
            key: value for key, value in whole.items() if key != ("label",) and base.get(key, ...) != value
        }
        # A table of a list of tables can be longer, because TOML has no line breaks in it.
        assert all(len(line) <= 80 or line.startswith("  {") for line in "\n".join(lines).splitlines())


def test_a_row_is_told_by_what_it_changes(recipe, call):
    shown = call("show", recipe).stdout
    assert shown.startswith('# row AAE\ntitle = "Tiny [two rows]"\nlabel = "AAE"\n')
    assert shown.count("[run]") == 1
    assert shown.partition("\n# row [A]")[2] == (
        ': differs from row AAE in\nmodel.prior.name = "code_generator"  # AAE: "gaussian"\nmodel.prior.noise = 4\n'
        'model.prior.noise_prior.name = "gaussian"\nmodel.prior.noise_prior.sigma = 1.0\n'
        "model.improves.prior = true  # AAE: false\n\n"
    )


def test_long_values_and_rows_without_a_difference(recipe, call):
    text = recipe.read_text() + (
        '[change.more]\nscores = [{ name = "fid", samples = 50 }]\nrun.seeds = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]\n'
        '[[row]]\nlabel = "more"\nchanges = ["more"]\n[[row]]\nlabel = "same"\n'
    )
    text = text.replace("[run]\n", "[run]\nseeds = [100, 101, 102, 103, 104]\n", 1)
    text = 'scores = [{ name = "fid", samples = 20 }]\n' + text
    recipe.write_text(text)
    shown = call("show", recipe).stdout
    assert (
        "# row more: differs from row AAE in\n# AAE: [100, 101, 102, 103, 104]\n"
        "run.seeds = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]\n"
        'scores = [\n  { name = "fid", extractor = "inception", samples = 50, reference = "train" },\n]\n'
    ) in shown
    assert "\n# row same: does not differ from row AAE\n" in shown


def test_a_setting_that_only_the_first_row_has_is_told():
    recipe = load_recipe(ROOT / "recipes" / "table3_ablation.toml", rows=["AAE"])
    (first,) = recipe.plans
    other = first.model_copy(update={"label": "B", "run": first.run.model_copy(update={"ema": None})})
    assert differences(first, other) == ["# without run.ema, which AAE has"]
    assert differences(other, first) == ["run.ema = 0.999"]
