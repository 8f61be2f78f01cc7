"""Recipes of any content end in a message, in a time that grows with their length."""

from __future__ import annotations

import pytest

from genprior.errors import GenpriorError, RecipeError
from genprior.recipe.load import load_recipe

DEEP = ".".join("a" * 3000)
TEXTS = {
    "deep keys": f"[change.x.model]\n{DEEP} = 1\n",
    "deep settings of the model": f"[change.x]\nmodel.{DEEP} = 1\n",
    "deep lists": f"[change.x.run]\nseeds = {'[' * 500}{']' * 500}\n",
    "lists without end": f"[change.x.run]\nseeds = {'[' * 5000}\n",
    "a number of 5000 digits": f"[change.x.run]\nsteps = {'9' * 5000}\n",
    "a number beyond 64 bits": f"[change.x.run]\nsteps = {'9' * 30}\n",
    "an infinite number": "[change.x.run]\nsteps = inf\n",
    "a long list": "[change.x.run]\nseeds = [" + '"x", ' * 100_000 + "]\n",
    "many keys": "[change.x.model]\n" + "\n".join(f"k{i} = 1" for i in range(3000)),
    "a long text": f'[change.x.model]\nname = "{"x" * 100_000}"\n',
    "a long key": f"[change.x.run]\n{'x' * 100_000} = 1\n",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.timeout(60)
def test_a_hostile_recipe_ends_in_a_message(tiny, text):
    tiny.write_text(tiny.read_text() + text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(tiny, changes=["x"])
    assert str(tiny) in str(caught.value) and len(str(caught.value)) < 500_000


@pytest.mark.parametrize(
    "setting",
    ["", "=", "a", "run.steps", "run.steps=", f"run.steps={'9' * 5000}", f"{DEEP}=1", f"run.seeds={'[' * 5000}",
     "a=1\nb=2", "run.steps=1\n[row]", "run={}", "run.seeds=[[[]]]", "model=1", "\x00=1", "run.batch=-1",
     f"run.steps={10**30}"],
)  # fmt: skip
def test_a_hostile_setting_ends_in_a_message(tiny, setting):
    try:
        load_recipe(tiny, settings=[setting])
    except GenpriorError as error:
        assert "\x00" not in str(error)
    else:
        assert setting == "run={}"


def test_a_file_without_end_is_not_read_to_its_end(tiny):
    tiny.write_text("#" * 3_000_000)
    with pytest.raises(RecipeError, match="has more than 2,097,152 bytes; is it another file"):
        load_recipe(tiny)
    with pytest.raises(RecipeError, match="/dev/zero has more than"):
        load_recipe("/dev/zero")


def test_depth_is_told(tiny):
    tiny.write_text(tiny.read_text() + TEXTS["deep keys"])
    with pytest.raises(RecipeError, match="nests tables or lists in more than 32 levels; no setting is so deep"):
        load_recipe(tiny)


def test_more_mistakes_than_anyone_reads_are_counted(tiny):
    tiny.write_text(tiny.read_text() + TEXTS["many keys"])
    with pytest.raises(RecipeError, match="the recipe has more than 200 mistakes:"):
        load_recipe(tiny, changes=["x"])
