"""Texts of other libraries inside our messages, and what is not TOML."""

from __future__ import annotations

import re
import shlex
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from genprior import PlanError, RecipeError, load_recipe, make_recipe, train
from genprior.errors import did_you_mean, in_a_sentence, listed, meant_as_text, what_is_wrong, wrong_settings
from genprior.loading import what_was_raised
from genprior.runs.part_settings import settings_table

from ..small import aae


class Inner(BaseModel):
    pass


class Settings(BaseModel):
    widths: tuple[int, ...] = Field((1,), min_length=1)
    pair: tuple[int, int] = (1, 2)
    names: list[str] = []
    kinds: frozenset[str] = frozenset()
    by_name: dict[str, int] = Field({"a": 1}, min_length=1)
    inner: Inner = Inner()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"widths": 64}, "widths: Input should be a list, such as [64]"),
        ({"names": "a"}, 'names: Input should be a list, such as ["a"]'),
        ({"kinds": True}, "kinds: Input should be a list, such as [true]"),
        ({"names": "a" * 1000}, "names: Input should be a list"),
        ({"pair": {"a": 1}}, "pair: Input should be a list"),
        ({"widths": []}, "widths: List should have at least 1 item after validation, not 0"),
        ({"pair": [1, 2, 3]}, "pair: List should have at most 2 items after validation, not 3"),
        ({"by_name": 3}, "by_name: Input should be a table of keys and values"),
        ({"by_name": {}}, "by_name: Table should have at least 1 item after validation, not 0"),
        ({"inner": 3}, "inner: Input should be a table of keys and values"),
        ({"pair": [1, "x"]}, "pair.1: Input should be a valid integer, unable to parse string as an integer"),
    ],
)
def test_lists_and_tables_have_the_names_that_toml_gives_them(given, text):
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(given)
    assert wrong_settings(caught.value) == text
    (error,) = caught.value.errors()
    assert text.endswith(what_is_wrong(error))


@pytest.mark.parametrize(
    ("text", "clause"),
    [("No space.", "No space"), ("a\n  b.", "a b"), ("wait...", "wait..."), ("", ""), ("3.", "3"), ("a.b", "a.b")],
)
def test_a_text_of_another_library_goes_on_in_our_sentence(text, clause):
    assert in_a_sentence(ValueError(text)) == clause
    assert what_was_raised(ValueError(text)) == (f"ValueError: {clause}" if clause else "ValueError")


@given(st.text())
def test_no_sentence_ends_in_two_dots(text):
    told = f"{in_a_sentence(text)}. Next"
    assert "\n" not in told and (".. Next" not in told or text.rstrip().endswith(".."))


def test_the_weights_that_do_not_fit_are_told_in_one_sentence(trained, tmp_path, call):
    import shutil

    run = shutil.copytree(trained / "AAE" / "seed-0", tmp_path / "AAE" / "seed-0")
    recipe = run / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("code_size = 4", "code_size = 5"))
    result = call("sample", run, "--out", tmp_path / "x.png")
    assert result.exit_code == 2 and "does not fit recipe.toml: Error(s) in loading state_dict" in result.stderr
    assert ". One of the two was altered" in result.stderr and ".. One of" not in result.stderr


def test_a_bare_text_is_shown_as_it_has_to_be_written(tmp_path):
    (tmp_path / "x.toml").write_text("[run]\nsteps = 1\n")
    hint = "; if it is a text: --set 'data.path=\"my images.npz\"'"
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / "x.toml", settings=["data.path=my images.npz"])
    assert str(caught.value).endswith(hint)
    with pytest.raises(PlanError) as refused:
        settings_table(["separator=;"], "columns=5")
    assert str(refused.value).endswith("; if it is a text: --set 'separator=\";\"'")


@pytest.mark.parametrize("setting", ["x", "=a", "x=", "x=[red]", 'x="red', "x={a}", "x=a=b", "x=a\nb", "x=a\x1b"])
def test_nothing_is_shown_where_the_value_is_more_than_a_bare_text(setting):
    assert meant_as_text(setting) == ""


@given(st.text(st.characters(exclude_characters="\"'[]{}=#", exclude_categories=("C", "Z")), min_size=1))
def test_what_is_shown_is_what_a_shell_and_toml_read_as_the_text(value):
    shown = meant_as_text(f"key={value}").removeprefix("; if it is a text: ")
    option, setting = shlex.split(shown)
    assert option == "--set" and tomllib.loads(setting.replace("=", " = ", 1)) == {"key": value}


LABELS = {"AAE": [], "kde, bandwidth=scott": [], "flow": []}


def test_names_with_commas_are_quoted_where_they_are_listed(tmp_path):
    assert listed(LABELS) == "AAE, 'kde, bandwidth=scott', flow"
    text = "; did you mean 'kde, bandwidth=scott'? Possible: AAE, flow, 'kde, bandwidth=scott'"
    assert did_you_mean("kde", LABELS) == text
    rows = [{"label": label, "changes": changes} for label, changes in LABELS.items()]
    recipe = make_recipe({"run": {"steps": 2}, "data": {"name": "digits"}, "model": tomllib.loads(aae())["model"],
                          "optimiser": {"default": {"lr": 1e-3}}, "row": rows})  # fmt: skip
    with pytest.raises(RecipeError, match=f"there is no row 'kde, bandwith'{re.escape(text)}"):
        recipe.row("kde, bandwith")
    with pytest.raises(RecipeError, match="Possible: AAE, 'kde, bandwidth=scott', flow"):
        train(recipe, rows=[], out=tmp_path)
    assert not list(tmp_path.iterdir())


@given(st.lists(st.text("ab, '", min_size=1).filter(lambda name: name.strip()), min_size=1, unique=True))
def test_a_list_without_commas_in_names_is_the_names(names):
    plain = [name for name in names if "," not in name]
    assert listed(plain) == ", ".join(plain)
    assert all(f"'{name}'" in listed(names) for name in names if "," in name)
