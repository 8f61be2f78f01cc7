"""Recipes that come with genprior: listed, found by name from any folder, copied."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest

import genprior
from genprior.errors import GenpriorWarning, RecipeError
from genprior.recipe import shipped

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "recipes").rglob("*.toml"))
NAMES = [path.relative_to(ROOT / "recipes").with_suffix("").as_posix() for path in FILES]


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty current folder, far from the clone."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_recipe_of_the_folder_has_its_name():
    assert sorted(NAMES) == list(shipped.shipped_recipes())
    assert len(NAMES) > 30 and {"table3_ablation", "gans/began"} <= set(NAMES)


@pytest.mark.parametrize("name", ["table3_ablation", "gans/began", "recipes/gans/began.toml"])
def test_a_recipe_is_found_by_name(name, empty):
    recipe = genprior.load_recipe(name, changes=["quick"])
    file = shipped.shipped_recipes()[name.removeprefix("recipes/").removesuffix(".toml")]
    assert recipe == genprior.load_recipe(file, changes=["quick"])
    assert recipe.file == file


def test_all_commands_that_take_a_recipe_take_its_name(call, empty):
    def output(*words, code=0):
        result = call(*words)
        assert result.exit_code == code, result.output
        return result.output

    quick = ("--with", "quick")
    assert "ok: 1 row" in output("check", "table3_ablation", *quick, "--rows", "AAE", "--set", 'data.name="digits"')
    assert "# row AAE\n" in output("show", "table3_ablation", "--row", "AAE")
    rows = ("--rows", "AAE", "--set", "run.steps=2", "--set", "scores=[]", "--jobs", 1)
    output("train", "table3_ablation", *quick, *rows)
    assert (empty / "runs/table3_ablation-quick/AAE/seed-0/run.json").is_file()
    tiny = ("--set", "run.steps=2", "--set", "scores=[]")
    assert "AAE" in output("bench", "table3_ablation", *quick, *tiny)
    assert "there are no runs in runs/priors-quick to rank" in output("priors", *quick, "--no-train", code=2)
    shown = output("figure", "fig10_supervised", *quick, code=2)
    assert "  train: genprior train fig10_supervised --with quick\n" in shown


def test_real_images_may_be_those_of_a_recipe_by_name(call, empty):
    np.savez("some.npz", images=np.zeros((2, 8, 8, 1), np.uint8))
    result = call("bench", "some.npz", "--score", "fid", "--data", "gans/began", "--with", "nothing")
    assert "there is no change 'nothing'" in result.output  # of the recipe, which was found


def test_a_file_or_folder_of_that_name_goes_first(call, empty):
    (empty / "priors").mkdir()
    own = shipped.shipped_recipes()["priors"]
    told = call("check", "priors").output
    assert f"priors is a folder, and a recipe is a file; genprior's own recipe of this name is {own}: give" in told
    (empty / "vae_gan").write_text("steps = 3")
    assert "unknown table 'steps'" in call("check", "vae_gan").output


@pytest.mark.parametrize("place", ["fig8_codes.toml", "recipes/fig8_codes.toml"])
def test_a_changed_copy_in_the_current_folder_goes_before_the_original_with_a_warning(place, empty):
    original = shipped.shipped_recipes()["fig8_codes"].read_text(encoding="utf-8")
    path = empty / place
    path.parent.mkdir(exist_ok=True)
    path.write_text(original, encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert shipped.recipe_file(Path("fig8_codes")) == Path(place)
    path.write_text(original + "\n# mine\n", encoding="utf-8")
    with pytest.warns(GenpriorWarning, match=f"'fig8_codes' is read from {place} in the current folder, not from"):
        assert shipped.recipe_file(Path("fig8_codes")) == Path(place)


def test_a_path_of_the_documentation_means_no_file_of_another_folder(empty):
    (empty / "priors.toml").write_text("# mine")
    assert shipped.recipe_file(Path("recipes/priors.toml")) == shipped.shipped_recipes()["priors"]


def test_a_path_in_a_folder_recipes_of_ones_own_is_no_name(empty):
    (empty / "recipes").mkdir()
    with pytest.raises(RecipeError, match=r"there is no recipe file recipes/priors\.toml"):
        genprior.load_recipe("recipes/priors.toml")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("table3", "there is no recipe file table3; did you mean table3_ablation (a recipe that comes with genprior)?"),
        ("tabel3_ablation", "did you mean table3_ablation (a recipe that comes with genprior)?"),
        ("gans/begin", "nor a folder gans; did you mean gans/began (a recipe that comes with genprior)?"),
        ("began", "did you mean gans/began (a recipe that comes with genprior)?"),
        ("priors.toml", "did you mean priors (a recipe that comes with genprior)?"),
        ("xyz", "There are no recipes there; `genprior recipes` lists those that come with genprior"),
    ],
)
def test_an_unknown_name_is_told_what_is_near(given, text, empty):
    with pytest.raises(RecipeError) as raised:
        genprior.load_recipe(given)
    assert text in str(raised.value)


def test_names_that_no_file_can_have_are_refused_as_before(empty):
    assert shipped.recipe_file(Path("a" * 5000)) == Path("a" * 5000)
    assert shipped.recipe_file(Path("a\0b")) == Path("a\0b")
    assert not shipped.is_recipe(Path("a\0b"))


# ---------------------------------------------------------------------------------------------------------------------
# The list
# ---------------------------------------------------------------------------------------------------------------------


def test_the_list_says_what_each_recipe_is(call):
    result = call("recipes")
    assert result.exit_code == 0
    (line,) = [line for line in result.output.splitlines() if "gans/began" in line]
    assert [cell.strip() for cell in line.split("│")[1:-1]] == ["gans/began", "BEGAN", "1", "cifar10", "quick (digits)"]
    assert all(f" {name} " in result.output for name in NAMES)


def test_the_list_for_programs_is_what_resolving_the_recipes_says(call):
    result = call("recipes", "--json")
    listed = {each["name"]: each for each in json.loads(result.stdout)}
    assert sorted(listed) == sorted(NAMES)
    for each in listed.values():
        recipe = genprior.load_recipe(each["file"])
        assert (each["title"], tuple(each["rows"])) == (recipe.title, recipe.order)
        assert {plan.data.name for plan in recipe.plans} == {each["data"]}
    ablation = listed["table3_ablation"]
    assert {each["name"]: each["data"] for each in ablation["changes"]} == {
        "printed": None, "quick": "digits", "demo": "digits", "mnist": "mnist",
    }  # fmt: skip


@pytest.mark.parametrize("words", [["recipes"], ["recipes", "copy", "gans/began"]])
def test_lists_and_copies_load_no_torch_and_no_plugin(words, empty):
    program = f"""
import sys
from genprior.cli.app import main
sys.argv[1:] = {words}
try:
    main()
except SystemExit as ended:
    assert not ended.code
assert not {{"torch", "numpy", "genprior_std", "genprior.registry"}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60)


def test_an_installation_without_recipes_says_so(call, monkeypatch):
    monkeypatch.setattr("genprior.cli.print_recipes.shipped_recipes", dict)
    result = call("recipes")
    assert (result.exit_code, result.stderr) == (
        2, "error: this installation of genprior has no recipes; install it again: pip install genprior\n",
    )  # fmt: skip


def test_a_folder_recipes_beside_an_installed_package_is_of_another_package(tmp_path, monkeypatch):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "genprior").mkdir()
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path / "genprior")
    assert shipped.shipped_folder() is None
    (tmp_path / "genprior" / "recipes").mkdir()
    assert shipped.shipped_folder() == tmp_path / "genprior" / "recipes"


# ---------------------------------------------------------------------------------------------------------------------
# Copies
# ---------------------------------------------------------------------------------------------------------------------


def test_a_copy_is_the_whole_file_and_overwrites_nothing(call, empty):
    result = call("recipes", "copy", "gans/began")
    assert (result.exit_code, result.stdout) == (0, "began.toml\n")
    original = shipped.shipped_recipes()["gans/began"].read_bytes()
    assert (empty / "began.toml").read_bytes() == original
    (empty / "began.toml").write_text("mine")
    again = call("recipes", "copy", "gans/began")
    assert again.exit_code == 2 and "began.toml exists, and nothing was written" in again.stderr
    assert (empty / "began.toml").read_text() == "mine"
    (empty / "some").mkdir()
    assert call("recipes", "copy", "gans/began", "--out", "some").stdout == "some/began.toml\n"
    assert call("recipes", "copy", "gans/began", "--out", "other.toml").exit_code == 0
    assert (empty / "some/began.toml").read_bytes() == (empty / "other.toml").read_bytes() == original
    assert tomllib.loads((empty / "other.toml").read_text())["title"] == "BEGAN"


def test_a_name_that_cannot_be_copied(call, empty):
    result = call("recipes", "copy", "began")
    assert result.exit_code == 2
    assert "there is no recipe of genprior named 'began'; did you mean gans/began?" in result.stderr
    assert "no recipe of genprior named 'zzz'. Possible: aae_clus" in call("recipes", "copy", "zzz").stderr
    assert list(empty.iterdir()) == []
