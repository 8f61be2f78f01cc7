"""Exported folders of runs with a fitted prior, with sentences, and on images of the user."""

from __future__ import annotations

import shutil

import pytest
import torch
from PIL import Image

import genprior
from genprior.engine.graph import model_graph

MLP = {"name": "mlp", "hidden": [12]}


def trained(folder, model, data, **run):
    tables = {
        "data": data,
        "run": {"steps": 3, "batch": 8, **run},
        "optimiser": {"default": {"lr": 1e-2}},
        "model": model,
        "row": [{"label": "mine", "changes": []}],
    }
    genprior.train(genprior.make_recipe(tables), out=folder / "runs")
    return genprior.load_run(folder / "runs" / "mine" / "seed-0")


def autoencoder(**more):
    return {
        "name": "autoencoder",
        "code_size": 3,
        "encoder": MLP,
        "decoder": MLP,
        "reconstruction": {"name": "pixel"},
        **more,
    }


def test_a_prior_that_keeps_codes(tmp_path, no_curves, call):
    model = autoencoder(fitted_prior={"name": "kde"})
    run = trained(tmp_path, model, {"name": "digits", "size": 8})
    genprior.export_folder(run, tmp_path / "shared")
    images = run.sample(7)
    shutil.rmtree(tmp_path / "runs")
    shared = genprior.load_run(tmp_path / "shared")
    assert len(shared.model.fitted_prior.codes) > 1000 and torch.equal(shared.sample(7), images)
    assert "- Prior `kde`" in (tmp_path / "shared" / "README.md").read_text()
    assert "to the codes of the first stage (weights" in " ".join(call("show", tmp_path / "shared").stdout.split())
    assert list(model_graph(shared.model).inputs) == ["noise", "uniform_noise"]


def test_a_model_of_sentences(tmp_path, no_curves):
    model = {
        "name": "gan",
        "code_size": 4,
        "prior": {"name": "code_generator", "noise": 3},
        "decoder": MLP,
        "image_critic": {"name": "image_mlp", "hidden": [12], "conditional": True},
        "game": {"name": "nonsaturating"},
        "conditioner": {"name": "sentence", "embedder": {"name": "lsa", "size": 5}},
    }
    run = trained(tmp_path, model, {"name": "captioned_digits"})
    genprior.export_folder(run, tmp_path / "shared")
    shared = genprior.load_run(tmp_path / "shared")
    assert torch.equal(shared.sample(5, text="a thin seven"), run.sample(5, text="a thin seven"))
    graph = model_graph(shared.model)
    assert graph.inputs["text"].startswith("the vectors of sentences, float32 [n, ")
    text = shared.model.embedder.embed(["a thin seven", "a red one"]).float()
    images = graph.module(torch.randn(2, 3), text)
    assert images.shape[0] == 2 and not torch.equal(images[0], images[1])


def test_images_of_the_user_are_not_needed_and_not_named(tmp_path, no_curves, monkeypatch):
    (tmp_path / "private" / "faces").mkdir(parents=True)
    for number in range(12):
        Image.new("L", (8, 8), 20 * number).save(tmp_path / "private" / "faces" / f"{number}.png")
    data = {"name": "folder", "path": str(tmp_path / "private" / "faces"), "size": 8}
    run = trained(tmp_path, autoencoder(), data)
    genprior.export_folder(run, tmp_path / "shared")
    images = run.sample(3)
    shutil.rmtree(tmp_path / "private")
    for file in (tmp_path / "shared").iterdir():
        assert b"private" not in file.read_bytes(), file
    monkeypatch.chdir(tmp_path / "shared")
    shared = genprior.load_run(".")
    assert torch.equal(shared.sample(3), images)
    with pytest.raises(genprior.DataError, match="faces"):
        shared.images("train")
