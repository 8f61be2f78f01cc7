"""A figure of a plugin is found, drawn and written, and what is wrong with one is told."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from matplotlib.figure import Figure as Picture

from genprior import Drawing, Figure, PartConfig, RecipeRows, hookimpl, load_run
from genprior.registry import Origin, Registry


def arrays(path):
    with np.load(path) as found:
        return dict(found)


class Means(Figure):
    """The mean pixel of samples of each run."""

    name = "means"

    class Config(PartConfig):
        """Settings of the figure."""

        samples: int = 5

    def draw(self, runs, seed):
        """A point for each run."""
        means = np.array([run.sample(self.config.samples, seed=seed).double().mean() for run in runs])
        picture = Picture()
        picture.add_subplot().plot(means, "o")
        return Drawing(picture, {"means": means, "sizes": np.array([len(run.images("test").images) for run in runs])})


class Named(Means):
    """A figure whose arrays have the names of numpy's arguments."""

    name = "named"

    def draw(self, runs, seed):
        """One number for each name."""
        return Drawing(Picture(), {"file": np.array(1), "allow_pickle": np.array([2.5]), "a b": np.array("text")})


class Raises(Means):
    """A figure with a bug."""

    name = "raises"

    def draw(self, runs, seed):
        """Fail."""
        raise ZeroDivisionError("no runs")


class NoDrawing(Means):
    """A figure that returns only the picture."""

    name = "no_drawing"

    def draw(self, runs, seed):
        """No data."""
        return Picture()


class Objects(Means):
    """A figure whose data would be pickled."""

    name = "objects"
    recipes = (RecipeRows("recipes/fig10_supervised.toml"),)

    def draw(self, runs, seed):
        """Runs instead of numbers."""
        return Drawing(Picture(), {"runs": np.array(runs, dtype=object)})


@pytest.fixture
def own(monkeypatch):
    class Plugin:
        @hookimpl
        def genprior_parts(self, register):
            for part in (Means, Named, Raises, NoDrawing, Objects):
                register(part)

    registry = Registry()
    registry.add(Plugin(), Origin("own", "own 1.0"))
    monkeypatch.setattr("genprior.runs.figures.installed", lambda: registry)


def test_a_plugins_figure_is_listed_and_drawn(own, table, tmp_path, call):
    listed = call("figure").stdout
    assert "The mean pixel of samples of each run." in listed and "any recipe" in listed
    done = call("figure", "means", table, "--set", "samples=3", "--seed", 2, "--out", tmp_path / "m")
    assert done.exit_code == 0, done.output
    found = arrays(tmp_path / "m.npz")
    rows = [load_run(table / label / "seed-0").sample(3, seed=2) for label in ("fixed prior", "learned prior")]
    assert found["means"].tolist() == [float(images.double().mean()) for images in rows]
    assert found["sizes"].tolist() == [360, 360]


def test_the_data_has_the_figures_arrays_and_no_others(own, table, tmp_path, call):
    assert call("figure", "named", table, "--out", tmp_path / "m").exit_code == 0
    found = arrays(tmp_path / "m.npz")
    assert {name: array.tolist() for name, array in found.items()} == {"file": 1, "allow_pickle": [2.5], "a b": "text"}


def test_all_rows_that_are_found(own, table, tmp_path, call):
    shown = call("figure", "means", table / "fixed prior", "--out", tmp_path / "m").stdout
    assert shown.splitlines()[0] == f"fixed prior, seed 0: {table}/fixed prior/seed-0"
    assert arrays(tmp_path / "m.npz")["means"].shape == (1,)


def test_unfinished_runs_of_any_row_are_resumed(own, table, tmp_path, call):
    folder = tmp_path / "runs" / "A" / "seed-0"
    shutil.copytree(table / "fixed prior" / "seed-0", folder)
    facts = json.loads((folder / "run.json").read_text())
    command = ["genprior", "train", "own.toml", "--with", "quick"]
    (folder / "run.json").write_text(json.dumps(facts | {"finished": False, "command": command}))
    lines = call("figure", "objects", tmp_path / "runs").stderr.splitlines()
    assert "  resume: genprior train own.toml --with quick" in lines
    assert not [line for line in lines if line.startswith("  train:")]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["means"], 2, "figure 'means' names no recipe; give the folders of the runs that it shall show"),
        (["raises", "runs"], 1, "figure 'raises' of plugin 'own' (own 1.0) raised ZeroDivisionError: no runs, at "),
        (["no_drawing", "runs"], 2, "figure 'no_drawing' of plugin 'own' (own 1.0) returned Figure instead of a gen"),
        (["objects", "runs"], 2, "figure 'objects' of plugin 'own' (own 1.0) returned arrays of objects, which an ."),
        (["objects"], 2, "figure 'objects' shows all rows that are trained, and runs/fig10_supervised has no finish"),
        (["objects"], 2, "  train: genprior train fig10_supervised\n"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_figure_is_told(own, inside, call, arguments, code, message):
    result = call("figure", *arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert not (inside / "figures").exists()
