"""The recipe.toml of a run is a recipe of that row; paths in a recipe begin at its folder."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import genprior
from genprior.errors import NewerFormat, RecipeError, RunError
from genprior.recipe.load import load_recipe
from genprior.runs.trainer import Trainer

from ..small import aae

SCORE = 'scores = [{ name = "parzen", samples = 50 }]\n'


@pytest.fixture
def tiny(tiny):
    """The recipe with a score, two seeds, and without pictures."""
    text = tiny.read_text().replace("[run]\n", f"{SCORE}[run]\nseeds = [0, 1]\nhooks.pictures.enabled = false\n")
    tiny.write_text(text.replace("size = 8\n", "size = 8\nvalidation = 100\n"))
    return tiny


@pytest.fixture
def home(tiny, tmp_path):
    """The table of a trained row under two seeds."""
    genprior.train(load_recipe(tiny, rows=["A+B+C"]), out=tmp_path / "runs" / "mine", device="cpu")
    return tmp_path / "runs" / "mine"


@pytest.fixture
def own(home):
    """The resolved recipe of the run of seed 1."""
    return home / "A+B+C" / "seed-1" / "recipe.toml"


def content(folder):
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


# ---------------------------------------------------------------------------------------------------------------------
# A run's own recipe
# ---------------------------------------------------------------------------------------------------------------------


def test_it_is_the_row_of_the_recipe_under_that_seed(tiny, home, own, monkeypatch):
    recipe, whole = load_recipe(own), load_recipe(tiny, rows=["A+B+C"])
    assert (recipe.name, recipe.title, recipe.order, recipe.home) == ("mine", "tiny", ("A+B+C",), home)
    assert recipe.plans[0].run.seeds == (1,)
    assert recipe.plans[0].differences(whole.plans[0].as_table()) == []
    assert recipe.plans[0].scores == whole.plans[0].scores
    assert load_recipe(own, seeds=[0, 3]).plans[0].run.seeds == (0, 3)
    monkeypatch.chdir(own.parent)
    assert load_recipe("recipe.toml").home == home
    monkeypatch.chdir(own.parents[1] / "seed-0")
    assert load_recipe("../seed-1/recipe.toml").home == home
    monkeypatch.chdir(home.parent)
    assert str(load_recipe("mine/A+B+C/seed-1/recipe.toml").home) == "mine"


def test_training_it_acts_on_that_run(home, own, call, monkeypatch):
    before = content(home)
    monkeypatch.setattr(Trainer, "_train", lambda *given: pytest.fail("trained again"))
    result = call("train", own)
    assert result.exit_code == 0 and "A+B+C: was finished before" in result.output
    assert {path: each for path, each in content(home).items() if "table" not in path} == {
        path: each for path, each in before.items() if "table" not in path
    }


def test_it_resumes_and_lengthens_that_run_alone(home, own, call):
    other = content(own.parents[1] / "seed-0")
    result = call("train", own, "--steps", 8)
    assert result.exit_code == 0, result.output
    facts = json.loads((own.parent / "run.json").read_text())
    assert (facts["step"], facts["seed"], facts["finished"]) == (8, 1, True)
    assert content(own.parents[1] / "seed-0") == other
    labels = [row["label"] for row in json.loads((home / "table.json").read_text())["rows"]]
    assert labels == ["A+B+C", "A+B+C (2)"]  # two seeds of different lengths are two rows


def test_it_trains_the_row_anew_elsewhere(own, call, tmp_path):
    before = content(own.parent)
    result = call("train", own, "--out", tmp_path / "new", "--set", "run.batch=9")
    assert result.exit_code == 0, result.output
    assert load_recipe(tmp_path / "new" / "A+B+C" / "seed-1" / "recipe.toml").plans[0].run.batch == 9
    assert content(own.parent) == before
    result = call("train", own, "--set", "run.batch=9")
    assert result.exit_code == 2 and "run.batch: was 8, is 9 [row A+B+C]\nNothing was changed." in result.output
    assert content(own.parent) == before


def test_other_commands_take_it(home, own, call, tmp_path):
    assert "[model.prior]" in call("show", own).output
    assert "ok: 1 row, one step of each was taken" in call("check", own).output
    result = call("bench", own)
    assert result.exit_code == 0 and "A+B+C" in result.output
    result = call("sample", own, "-n", 4, "--to", tmp_path / "images.png")
    assert result.exit_code == 0 and "seed 0" in result.output, result.output


def test_figures_take_it(own):
    from genprior.runs.find import find_runs

    assert [run.folder for run in find_runs([own], [])] == [own.parent]


def test_a_copy_is_a_recipe_with_all_seeds_of_the_file(own, tmp_path):
    copy = tmp_path / "copy.toml"
    shutil.copy(own.parents[1] / "seed-0" / "recipe.toml", copy)
    recipe = load_recipe(copy, settings=["optimiser.encoder.lr=0.5"])
    assert (recipe.name, recipe.home, recipe.plans[0].run.seeds) == ("copy", None, (0, 1))
    assert recipe.plans[0].optimiser_of("encoder").lr == 0.5
    copy.write_text(copy.read_text().replace("noise = 3", "noise = -3"))
    line = copy.read_text().split("\n").index("noise = -3") + 1
    with pytest.raises(RecipeError, match=rf"copy.toml:{line}: model.prior.noise: .*\[row A\+B\+C\]"):
        load_recipe(copy)


def test_a_run_in_a_renamed_folder_is_not_trained_without_out(own, call, tmp_path):
    own.parent.rename(own.parents[1] / "best")
    moved = own.parents[1] / "best" / "recipe.toml"
    result = call("train", moved)
    assert result.exit_code == 2
    assert result.output.endswith(
        f"{moved} is the recipe of a run whose folder is not named A+B+C/seed-<k>, so training would not find the run. "
        "Rename the folder to resume it, or give --out to train the row anew.\n"
    )
    with pytest.raises(RunError, match="is the recipe of a run whose folder"):
        genprior.train(load_recipe(moved), device="cpu")


def test_it_may_be_of_an_older_version(own):
    """Settings of other methods, and hooks that are gone, are left out; a newer format is refused by name."""
    text = own.read_text()
    kept = load_recipe(own).plans[0]
    old = text.replace("[optimiser.default]\n", "[optimiser.default]\nmomentum = 0.5\n")
    own.write_text(old.replace("[run.hooks.pictures]", "[run.hooks.gone]\nenabled = true\n\n[run.hooks.pictures]"))
    assert load_recipe(own).plans[0] == kept
    with pytest.raises(RecipeError, match="optimiser.default.momentum"):
        load_recipe(own, settings=["optimiser.default.momentum=0.5"])
    own.write_text(text.replace("format = 1", "format = 99"))
    with pytest.raises(NewerFormat, match=r"recipe.toml has format 99"):
        load_recipe(own)


def test_a_label_beside_rows_is_still_a_mistake(tiny):
    tiny.write_text('label = "AAE"\n' + tiny.read_text())
    with pytest.raises(RecipeError, match="tiny.toml:1: label: unknown table 'label'"):
        load_recipe(tiny)


# ---------------------------------------------------------------------------------------------------------------------
# Paths
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_path(tmp_path, monkeypatch):
    """A recipe in a folder of its own, of an archive beside it, read from another folder."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "recipes" / "own.npz", images=images)
    file = tmp_path / "recipes" / "own.toml"
    base = "[run]\nsteps = 2\nbatch = 8\n[optimiser.default]\nlr = 1e-3\n" + aae()
    file.write_text(base + '[data]\nname = "arrays"\npath = "own.npz"\n')
    return file


def path_of(file, *settings, **given):
    return load_recipe(file, settings=settings, **given).plans[0].data.path


def test_a_path_of_a_recipe_begins_at_its_folder_and_one_of_the_command_line_here(with_path, tmp_path):
    assert path_of(with_path) == path_of("../recipes/own.toml") == tmp_path / "recipes" / "own.npz"
    assert path_of(with_path, 'data.path="mine.npz"') == tmp_path / "here" / "mine.npz"
    assert path_of(with_path, 'data={name="arrays",path="mine.npz"}') == tmp_path / "here" / "mine.npz"
    assert path_of(with_path, f'data.path="{tmp_path / "x.npz"}"') == tmp_path / "x.npz"
    assert type(load_recipe(with_path, settings=['title="mine"']).plans[0].title) is str


def test_a_path_of_a_change_and_of_a_score_begins_at_the_folder_of_the_recipe_too(with_path, tmp_path):
    text = '[change.other.data]\npath = "other.npz"\n[change.fid]\nscores = [{ name = "fid", weights = "w.pth" }]\n'
    with_path.write_text(with_path.read_text() + text)
    (plan,) = load_recipe(with_path, changes=["other", "fid"]).plans
    assert (plan.data.path, plan.scores[0].weights) == (
        tmp_path / "recipes" / "other.npz",
        tmp_path / "recipes" / "w.pth",
    )
    (plan,) = load_recipe(with_path, settings=['scores=[{name="fid",weights="w.pth"}]']).plans
    assert plan.scores[0].weights == tmp_path / "here" / "w.pth"


def test_a_home_directory_and_an_absolute_path_are_what_they_say(with_path, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    text = with_path.read_text()
    for written, meant in (("~/a.npz", tmp_path / "me" / "a.npz"), (f"{tmp_path}/b.npz", tmp_path / "b.npz")):
        with_path.write_text(text.replace("own.npz", written))
        assert path_of(with_path) == meant


def test_errors_show_the_absolute_path(with_path, tmp_path, call):
    with_path.write_text(with_path.read_text().replace("own.npz", "gone.npz"))
    result = call("check", "../recipes/own.toml")
    assert result.exit_code == 2 and f"{tmp_path}/recipes/gone.npz" in result.output


def test_the_run_keeps_the_path_and_its_own_recipe_names_the_same_file(with_path, tmp_path, monkeypatch):
    genprior.train(load_recipe(with_path), out="runs", device="cpu")
    own = tmp_path / "here" / "runs" / "base" / "seed-0" / "recipe.toml"
    monkeypatch.chdir(tmp_path)
    assert path_of(own) == tmp_path / "recipes" / "own.npz"
    own.write_text(own.read_text().replace(str(tmp_path / "recipes" / "own.npz"), "old.npz"))
    assert path_of(own) == tmp_path / "old.npz"  # as older versions wrote it, from the current directory
