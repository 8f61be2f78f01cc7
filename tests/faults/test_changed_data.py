"""The user's own images are part of a run: other images are neither trained on nor compared."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from genprior.bench.rescore import Real
from genprior.errors import RunError
from genprior.recipe.load import load_recipe
from genprior.registry import installed
from genprior.runs.run import load_run
from genprior.runs.trainer import Trainer
from genprior_std.datasets.folder import Folder

from ..bench.tables import noise, png_folder
from ..small import aae

RECIPE = (
    """\
title = "Own"
scores = [{ name = "fid", extractor = "classifier", samples = 20 }]
[run]
steps = 4
batch = 8
checkpoint_every = 2
log_every = 2
sample_every = 1000
[optimiser.default]
lr = 1e-3
"""
    + aae()
    + "[data]\n"
)
FOLDER = 'name = "folder"\npath = "images"\nsize = 8\nchannels = 1\n'
ARRAYS = 'name = "arrays"\npath = "images.npz"\nsize = 8\n'


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    """A current directory of its own, with a cache elsewhere."""
    monkeypatch.setenv("GENPRIOR_DATA", str(tmp_path / "cache"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")


def images(tmp_path, seed=0):
    """Write 60 images of two classes as files and as an archive."""
    shutil.rmtree(tmp_path / "home" / "images", ignore_errors=True)
    for place, name in ((0, "first"), (30, "second")):
        png_folder(tmp_path / "home" / "images" / name, noise(60, seed=seed)[place : place + 30])
    labels = np.repeat([0, 1], 30)
    np.savez(tmp_path / "home" / "images.npz", images=noise(60, seed=seed)[:, 0].numpy(), labels=labels)


def plan(tmp_path, data, *settings):
    (tmp_path / "home" / "own.toml").write_text(RECIPE + data, encoding="utf-8")
    return load_recipe(tmp_path / "home" / "own.toml", settings=list(settings)).plans[0]


def files(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock"}


@pytest.mark.parametrize("data", [FOLDER, ARRAYS], ids=["folder", "arrays"])
def test_a_run_is_not_resumed_on_other_images(tmp_path, data):
    images(tmp_path)
    run = tmp_path / "runs" / "base" / "seed-0"
    Trainer(plan(tmp_path, data), 0, run).run(until=2)
    kept = json.loads((run / "run.json").read_text())["data_hash"]
    images(tmp_path, seed=1)
    before = files(run)
    with pytest.raises(RunError) as caught:
        Trainer(plan(tmp_path, data), 0, run).run()
    text = str(caught.value)
    assert text.startswith(f"the images or captions of the run {run} have changed: their hash was {kept}, and is ")
    assert text.endswith("Restore the files to resume, or give another --out to train on these.")
    assert files(run) == before
    images(tmp_path)
    assert "classifier_fid" in Trainer(plan(tmp_path, data), 0, run).run()


def test_a_run_without_a_hash_is_resumed(tmp_path):
    """A run of an older version, whose recipe has the relative path."""
    images(tmp_path)
    run = tmp_path / "runs" / "base" / "seed-0"
    Trainer(plan(tmp_path, FOLDER), 0, run).run(until=2)
    facts = json.loads((run / "run.json").read_text())
    del facts["data_hash"]
    (run / "run.json").write_text(json.dumps(facts))
    recipe = (run / "recipe.toml").read_text()
    assert str(tmp_path / "home" / "images") in recipe
    (run / "recipe.toml").write_text(recipe.replace(str(tmp_path / "home" / "images"), "images"))
    assert "hash" not in load_run(run).described_data
    assert "classifier_fid" in Trainer(plan(tmp_path, FOLDER), 0, run).run()
    assert load_run(run).described_data["hash"] == plan(tmp_path, FOLDER).data.make().files_hash()


def test_moved_images_are_the_same_and_other_images_elsewhere_are_not(tmp_path):
    images(tmp_path)
    run = tmp_path / "runs" / "base" / "seed-0"
    Trainer(plan(tmp_path, FOLDER), 0, run).run(until=2)
    (tmp_path / "home" / "images").rename(tmp_path / "moved")
    moved = plan(tmp_path, FOLDER, f'data.path="{tmp_path / "moved"}"')
    assert "classifier_fid" in Trainer(moved, 0, run).run()
    images(tmp_path, seed=1)
    with pytest.raises(RunError, match=r"holds a run of another recipe:\n  data.path: was .*moved', is .*home/images'"):
        Trainer(plan(tmp_path, FOLDER), 0, run).run()


def test_a_run_names_the_same_images_from_every_directory(tmp_path, monkeypatch):
    images(tmp_path)
    run = tmp_path / "runs" / "base" / "seed-0"
    Trainer(plan(tmp_path, FOLDER), 0, run).run()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    png_folder(tmp_path / "elsewhere" / "images", noise(60, seed=1))
    data = load_run(run).plan.data
    assert data.path == tmp_path / "home" / "images"
    assert Real.of_dataset(data).described == load_run(run).described_data


def test_scores_on_other_images_are_in_another_column(tmp_path, call):
    images(tmp_path)
    plan(tmp_path, FOLDER)
    made = tmp_path / "made"
    png_folder(made, noise(20, seed=2))
    result = call("train", tmp_path / "home" / "own.toml", "--out", tmp_path / "runs", "--jobs", 1)
    assert result.exit_code == 0, result.output

    def columns():
        result = call("bench", tmp_path / "runs", made, "--out", tmp_path / "out")
        assert result.exit_code == 0, result.output
        table = json.loads((tmp_path / "out" / "table.json").read_text())
        return [list(row["scores"]) for row in table["rows"]], table

    keys, table = columns()
    assert keys == [["classifier_fid"], ["classifier_fid"]]
    hashes = [Folder.Config(path="images").make().files_hash()]
    images(tmp_path, seed=1)
    hashes.append(Folder.Config(path="images").make().files_hash())
    keys, table = columns()
    assert keys == [["classifier_fid"], ["classifier_fid@2"]]
    text = json.dumps(table)
    assert all(f"hash = {each}" in text for each in hashes) and hashes[0] != hashes[1]


def test_a_finished_run_is_shown_without_its_images(tmp_path, call):
    images(tmp_path)
    plan(tmp_path, FOLDER)
    assert call("train", tmp_path / "home" / "own.toml", "--out", tmp_path / "runs", "--jobs", 1).exit_code == 0
    shutil.rmtree(tmp_path / "home" / "images")
    for command in ("show", "bench"):
        result = call(command, tmp_path / "runs")
        assert result.exit_code == 0, result.output


def test_a_public_data_set_has_no_hash(tmp_path):
    table = {"name": "digits", "size": 8}
    config = installed().configure("dataset", table)
    assert config.make().files_hash() is None and Real.of_dataset(config).described == config.model_dump(mode="json")
