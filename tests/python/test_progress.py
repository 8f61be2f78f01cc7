"""What `genprior.train` shows: what the command line shows, nothing if asked, and bars in a notebook."""

from __future__ import annotations

import re
import sys

import pytest
from rich.console import Console

import genprior
from genprior.cli.progress import Bars, Lines, watching
from genprior.launch.reporter import Reporter

from .small_tables import tables


def without_numbers(text):
    return re.sub(r"[\d,:.]+", "N", text)


def test_a_pipe_gets_the_lines_of_the_command_on_stderr(tmp_path, capfd, call):
    recipe = genprior.make_recipe(tables(), name="piped")
    recipe.save(tmp_path / "piped.toml")
    genprior.train(recipe, out=tmp_path / "python")
    out, err = capfd.readouterr()
    assert out == ""
    checking, time, *rows = (line.partition(":")[0] for line in err.splitlines())
    assert checking == "checking" and time.startswith("training takes ") and rows == ["base", "base"]
    done = call("train", tmp_path / "piped.toml", "--out", tmp_path / "command", "--jobs", 1)
    assert without_numbers(done.stderr) == without_numbers(err)


def test_nothing_is_shown_if_asked_or_with_a_reporter_of_ones_own(tmp_path, capfd):
    class Mine(Reporter):
        def __init__(self):
            self.seen = []

        def planned(self, jobs):
            self.seen.append(len(jobs))

        def finished(self, job, scores):
            self.seen.append(job.plan.label)

    mine = Mine()
    genprior.train(genprior.make_recipe(tables()), out=tmp_path / "a", progress=False)
    genprior.train(genprior.make_recipe(tables()), out=tmp_path / "b", reporter=mine)
    assert capfd.readouterr() == ("", "")
    assert mine.seen == [1, "base"]


def test_the_display_ends_where_training_fails(tmp_path, capfd):
    recipe = genprior.make_recipe(tables(run={"steps": 1, "batch": 9999}))
    with pytest.raises(genprior.RecipeError):
        genprior.train(recipe, out=tmp_path / "a")
    assert capfd.readouterr().err.splitlines() == ["checking: one step of each row"]


@pytest.mark.parametrize(("installed", "shown"), [(True, Bars), (False, Lines)])
def test_a_notebook_has_bars_where_it_can_move_them(monkeypatch, installed, shown):
    monkeypatch.setattr("genprior.cli.progress.importlib.util.find_spec", lambda name: installed or None)
    monkeypatch.setattr(shown, "checking", lambda self: None)  # nothing is drawn: there is no IPython here
    with watching(Console(force_jupyter=True)) as watcher:
        assert type(watcher) is shown


def test_a_notebook_is_shown_as_wide_as_it_is(monkeypatch):
    from genprior.cli.console import console

    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert console(stderr=True).width == 200
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert console(stderr=True).is_jupyter and console(stderr=True).width < 200
