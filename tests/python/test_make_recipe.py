"""Recipes without a file: equal to those of a file, refused with the same words, and written to read the same."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import genprior
from genprior import RecipeError
from genprior.errors import GenpriorWarning
from genprior_std.conditioners.none import NoCondition
from genprior_std.datasets.arrays import Arrays
from genprior_std.datasets.digits import Digits
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.code_generator import CodeGenerator
from genprior_std.priors.gaussian import Gaussian
from genprior_std.scores.nll import NegativeLogLikelihood

from .small_tables import tables

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").rglob("*.toml"))
CHANGES = {
    "change": {"learned": {"model": {"prior": {"name": "code_generator", "noise": 3}}}, "quick": {"run": {"steps": 1}}},
    "row": [{"label": "fixed"}, {"label": "learned", "changes": ["learned"]}],
}


def test_a_recipe_of_tables_is_that_of_a_file_with_the_same_keys(tmp_path):
    content = tables(**CHANGES)
    file = tmp_path / "same.toml"
    file.write_text(tomlkit.dumps(content))
    chosen = {"changes": ["quick"], "settings": ["run.batch=4"], "rows": ["learned"], "seeds": [3]}
    assert genprior.make_recipe(content, name="same", **chosen) == genprior.load_recipe(file, **chosen)
    assert genprior.make_recipe(content).plans == genprior.load_recipe(file).plans
    assert content == tables(**CHANGES)


def test_parts_may_be_objects():
    content = tables(scores=(NegativeLogLikelihood.Config(importance_samples=7),))
    content["model"] |= {
        "prior": CodeGenerator.Config(noise=np.int64(3)),
        "encoder": MlpEncoder.Config(hidden=(16,)),
        "conditioner": NoCondition.Config(),
    }
    content["data"] = Digits.Config(size=8)
    (plan,) = genprior.make_recipe(content).plans
    assert plan.model.prior == CodeGenerator.Config(noise=3)
    assert plan.data == Digits.Config(size=8)
    assert plan.scores == (NegativeLogLikelihood.Config(importance_samples=7),)
    assert plan.model.encoder == MlpEncoder.Config(hidden=(16,))


def test_a_change_replaces_a_part_that_was_given_as_an_object():
    content = tables(**CHANGES)
    content["model"]["prior"] = Gaussian.Config(sigma=2.0)
    fixed, learned = genprior.make_recipe(content).plans
    assert fixed.model.prior == Gaussian.Config(sigma=2.0)
    assert learned.model.prior == CodeGenerator.Config(noise=3)


WRONG = [
    {"model": {**tables()["model"], "prior": {"name": "gausian"}}},
    {"run": {"step": 3}},
    {"runs": {}},
    {"row": [{"label": "a", "changes": ["b"]}, {"label": "a"}]},
    {"scores": "fid"},
    {"run": {"steps": "many"}},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_mistakes_have_the_words_of_a_files_without_lines(tmp_path, wrong):
    content = {**tables(), **wrong}
    file = tmp_path / "wrong.toml"
    file.write_text(tomlkit.dumps(content))
    with pytest.raises(RecipeError) as of_file:
        genprior.load_recipe(file)
    with pytest.raises(RecipeError) as of_tables:
        genprior.make_recipe(content, name="wrong")
    without = re.sub(rf"{re.escape(str(file))}(:\d+)?", "recipe 'wrong'", str(of_file.value))
    assert sorted(without.splitlines()) == sorted(str(of_tables.value).splitlines())


def test_values_that_no_recipe_holds_are_refused():
    class Other(genprior.Prior):
        name = "gaussian"

        def sample(self, asked):
            return asked

    def refused(text, **wrong):
        with pytest.raises(RecipeError, match=text):
            genprior.make_recipe(tables(**wrong))

    refused("run.ema = None, which a recipe cannot hold; leave the key out for its default", run={"ema": None})
    refused("data.size = None, .* because TOML has no value for it", data=Arrays.Config(path="a.npz", size=None))
    refused("model.prior = <class .*; give its settings, such as MyPrior.Config", model={"prior": Other})
    refused(
        "model.prior has the settings of prior 'gaussian' .*Other.* call genprior.register",
        model={"prior": Other.Config()},
    )
    refused("run has the key 3; the keys of a recipe are texts", run={3: 4})
    refused("data.f = <built-in function print>", data={"f": print})
    loop: dict = {}
    loop["run"] = loop
    refused("is nested in more than 32 levels", **loop)
    with pytest.raises(
        RecipeError, match="made from a mapping .* and this is a str; read a file with genprior.load_recipe"
    ):
        genprior.make_recipe("recipes/a.toml")
    with pytest.raises(RecipeError, match="name = 'a/b' cannot name a folder"):
        genprior.make_recipe(tables(), name="a/b")
    for name in ("..", ".", "", 5, None):
        with pytest.raises(RecipeError, match=f"name = {name!r} cannot name a folder"):
            genprior.make_recipe(tables(), name=name)


def test_seeds_are_whole_numbers_in_a_sequence(tmp_path):
    for seeds in ([3, 4], (3, 4), np.array([3, 4]), range(3, 5)):
        assert genprior.make_recipe(tables(), seeds=seeds).plans[0].run.seeds == (3, 4)
    (tmp_path / "r.toml").write_text(tomlkit.dumps(tables()))
    for seeds in (3, "34", {3: 4}, np.array(3)):
        for make in (genprior.make_recipe, genprior.load_recipe):
            with pytest.raises(RecipeError, match="seeds = .* a (single number|list of whole numbers)"):
                make(tables() if make is genprior.make_recipe else tmp_path / "r.toml", seeds=seeds)
    for seeds in ([1.5], [True], ["3"], [None]):
        with pytest.raises(RecipeError, match="a seed = .* is no whole number; give one of at least 0"):
            genprior.make_recipe(tables(), seeds=seeds)
    with pytest.raises(RecipeError, match="a seed = -1 is too small"):
        genprior.make_recipe(tables(), seeds=[-1])


@pytest.mark.parametrize(("name", "why"), [("x" * 300, "File name too long"), ("a\0", "embedded null")])
def test_a_recipe_is_not_saved_under_a_name_that_no_file_has(tmp_path, name, why):
    with pytest.raises(RecipeError, match=f"cannot be written: {why}.*; give another path"):
        genprior.make_recipe(tables()).save(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("jobs", "why"), [(0, "is too small"), (-1, "is too small"), (2.5, "is no whole"), ("2", "is no whole")]
)
def test_a_number_of_jobs_is_whole_and_positive(tmp_path, jobs, why):
    with pytest.raises(RecipeError, match=f"jobs = .*{why}.* of at least 1"):
        genprior.train(genprior.make_recipe(tables()), out=tmp_path / "out", jobs=jobs, progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_written_so_that_it_reads_the_same(path, tmp_path):
    recipe = genprior.load_recipe(path)
    out = tmp_path / f"{path.stem}.toml"
    recipe.save(out)
    assert genprior.load_recipe(out) == recipe


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "run": st.fixed_dictionaries(
                    {}, optional={"steps": st.integers(1, 9), "ema": st.floats(0.1, 0.9), "labels": st.integers(10, 20)}
                ),
                "data": st.sampled_from([{"name": "digits", "size": 8}, {"name": "mnist", "validation": 5}]),
                "optimiser": st.sampled_from([{"default": {"name": "sgd", "momentum": 0.5}}, {"encoder": {"lr": 0.5}}]),
                "scores": st.sampled_from([[], [{"name": "nll"}]]),
            },
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_rows_are_written_so_that_they_read_the_same(rows, tmp_path_factory):
    changes = {f"change {number}": change for number, change in enumerate(rows)}
    content = tables(change=changes, row=[{"label": f"row {n}", "changes": [name]} for n, name in enumerate(changes)])
    recipe = genprior.make_recipe(content, name="any")
    out = tmp_path_factory.mktemp("any") / "any.toml"
    recipe.save(out)
    assert genprior.load_recipe(out) == recipe


def test_a_file_is_never_overwritten_and_nothing_is_left_behind(tmp_path):
    recipe, out = genprior.make_recipe(tables()), tmp_path / "a.toml"
    out.write_text("mine")
    with pytest.raises(RecipeError, match="a.toml exists, and nothing was written; give another path"):
        recipe.save(out)
    with pytest.raises(RecipeError, match="cannot be written: No such file or directory; give another path"):
        recipe.save(tmp_path / "nowhere" / "a.toml")
    assert out.read_text() == "mine" and [each.name for each in tmp_path.iterdir()] == ["a.toml"]


def test_a_recipe_is_shown_as_by_the_command(tmp_path, call):
    recipe, out = genprior.make_recipe(tables(**CHANGES)), tmp_path / "shown.toml"
    recipe.save(out)
    shown = "\n".join(call("show", out, "--row", plan.label).output for plan in recipe.plans)
    assert str(recipe).split() == shown.split()


def test_a_recipe_is_checked_and_trained_in_the_folder_of_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = genprior.make_recipe(tables(**CHANGES), name="made", changes=["quick"])
    with pytest.warns(GenpriorWarning, match="'code_generator' .* learns nothing here"):
        genprior.check(recipe)
    assert not list(tmp_path.iterdir())
    with pytest.warns(GenpriorWarning, match="'code_generator' .* learns nothing here"):
        genprior.train(recipe, rows=["learned"], progress=False)
    run = genprior.load_run("runs/made-quick/learned/seed-0")
    assert run.finished and run.plan.run.steps == 1
    wrong = genprior.make_recipe(tables(run={"steps": 1, "batch": 9999}))
    with pytest.raises(RecipeError, match="run.batch = 9999 is more than"):
        genprior.check(wrong)
