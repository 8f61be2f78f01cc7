"""The hook function after a table is written: whatever a plugin raises there, the runs and the table are complete."""

from __future__ import annotations

import pytest

import genprior
from genprior import hookimpl
from genprior.launch.table_hooks import tell_of_table
from genprior.registry import Origin, Registry

HEARD: list[str] = []


class Fails:
    @hookimpl
    def genprior_table_written(self, folder):
        raise SystemExit("no disk")


class Hears:
    @hookimpl
    def genprior_table_written(self, folder):
        HEARD.append(folder.name)


@pytest.fixture
def registry() -> Registry:
    HEARD.clear()
    made = Registry()
    made.add(Fails(), Origin("failing", "tests 1"))
    made.add(Hears(), Origin("hearing", "tests 2"))
    return made


def test_a_function_that_fails_is_a_warning_and_the_others_are_called(registry, tiny, tmp_path) -> None:
    expected = (
        r"the hook function genprior_table_written of plugin 'failing' \(tests 1\) failed: SystemExit: no disk. The "
        r"runs and their table in .* are complete; with \[run\] skip_hook_functions = \['failing'\] it is not called"
    )
    with pytest.warns(genprior.GenpriorWarning, match=expected):
        tell_of_table(genprior.load_recipe(tiny), tmp_path / "out", registry)
    assert HEARD == ["out"]


def test_a_recipe_can_skip_a_plugin(registry, tiny, tmp_path) -> None:
    text = tiny.read_text().replace("[run]", '[run]\nskip_hook_functions = ["failing"]')
    tiny.write_text(text)
    recipe = genprior.load_recipe(tiny)
    tell_of_table(recipe, tmp_path / "out", registry)
    assert HEARD == ["out"]


def test_training_tells_after_the_table(tiny, tmp_path, monkeypatch) -> None:
    told = []
    monkeypatch.setattr(
        "genprior.launch.train.tell_of_table",
        lambda recipe, folder: told.append((recipe.title, (folder / "table.html").is_file())),
    )
    genprior.train(genprior.load_recipe(tiny), rows=["AAE"], out=tmp_path / "out")
    assert told == [("tiny", True)]
    monkeypatch.setattr(
        "genprior.launch.train._in_this_process", lambda *rest: [genprior.Interrupted("stopped before row 'AAE'")]
    )
    with pytest.raises(genprior.Interrupted):
        genprior.train(genprior.load_recipe(tiny), rows=["AAE"], out=tmp_path / "out")
    assert told == [("tiny", True)]
