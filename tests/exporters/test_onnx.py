"""Runs as ONNX graphs, compared with torch in onnxruntime."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import genprior
from genprior.engine.graph import model_graph
from genprior.engine.sampling import evaluating
from genprior.errors import PlanError, RunError
from genprior.runs import onnx_file

from .small_models import MODELS, PRIORS, model_of, model_with_prior

REFUSED = ("student_t", "labels_alone", "pixelcnn", "pixelgan", "pixelgan_semi_supervised")


@pytest.fixture
def onnxruntime():
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package, reason='needs pip install "genprior[onnx]"')
    return pytest.importorskip("onnxruntime", reason='needs pip install "genprior[onnx]"')


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained run with labels and a learned prior."""
    folder = tmp_path_factory.mktemp("runs")
    model = {"prior": {"name": "code_generator", "noise": 3}, "conditioner": {"name": "label"}, **_parts()}
    tables = {
        "data": {"name": "digits", "size": 8},
        "run": {"steps": 4, "batch": 8},
        "optimiser": {"default": {"lr": 1e-3}},
        "model": {**model, "improves": {"prior": True}, **_critic()},
        "row": [{"label": "mine", "changes": []}],
    }
    recipe = genprior.make_recipe(tables)
    genprior.train(recipe, out=folder)
    (found,) = folder.glob("*/seed-0")
    return genprior.load_run(found)


def _parts():
    mlp = {"name": "mlp", "hidden": [12]}
    return {
        "name": "aae",
        "code_size": 4,
        "encoder": mlp,
        "decoder": {**mlp, "batch_norm": True},
        "code_critic": {"name": "code_mlp", "hidden": [12]},
        "reconstruction": {"name": "pixel"},
        "code_game": {"name": "nonsaturating"},
    }


def _critic():
    return {"image_critic": {"name": "image_mlp", "hidden": [12]}, "image_game": {"name": "nonsaturating"}}


def test_a_run_is_a_graph_of_noise_and_label(run, tmp_path, onnxruntime, call):
    file = tmp_path / "mine.onnx"
    inputs = {
        "noise": "standard normal numbers, float32 [n, 3]",
        "label": "the label of each image, int64 [n], 0 to 9",
    }
    written = call("export", run.folder, "--onnx", file)
    assert written.exit_code == 0 and all(f"  {k}: {v}\n" in written.stdout for k, v in inputs.items())
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    for n in (1, 6, 41):
        noise, label = torch.randn(n, 3), torch.arange(n) % 10
        (images,) = session.run(None, {"noise": noise.numpy(), "label": label.numpy()})
        with evaluating(run.model):
            known, asked = run.model.condition(noise, label)
            z = run.model.prior.network(torch.cat([asked, noise], 1))
            expected = run.model.decoder(z, known)
        assert images.shape == (n, 1, 8, 8) and np.abs(images - expected.numpy()).max() < 1e-4
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["inputs"]) == inputs and json.loads(facts["classes"]) == run.classes
    with pytest.raises(RunError, match=r"mine\.onnx exists already; give another file, or --force"):
        genprior.export_onnx(run, file)
    assert list(genprior.export_onnx(run.folder, file, start="code", force=True)) == ["code", "label"]
    assert [each.name for each in tmp_path.iterdir()] == ["mine.onnx"]


def test_another_ending_is_refused(run, tmp_path):
    with pytest.raises(RunError, match=r"is a file that ends in \.onnx, and .*mine\.png does not; give .*mine\.onnx"):
        genprior.export_onnx(run, tmp_path / "mine.png")
    for name, why, better in (
        ("", "does not", "model.onnx"), (".", "does not", "model.onnx"), ("..", "does not", "../model.onnx"),
        (".onnx", "has no name before it", "model.onnx"), ("a.ONNX", "does not", "a.onnx"),
        (tmp_path, "does not", tmp_path / "model.onnx"),
    ):  # fmt: skip
        with pytest.raises(RunError, match=rf"and {Path(name)} {why}; give {better}$"):
            genprior.export_onnx(run, name)
    with pytest.raises(PlanError, match=r"ends in '\.onnx', which is no known format"):
        genprior.export(run, tmp_path / "mine.onnx")  # which writes images


def test_a_missing_package_is_named(run, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(PlanError, match=r'onnx is not installed. Install them with `pip install "genprior\[onnx\]"`'):
        genprior.export_onnx(run, tmp_path / "mine.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in (*PRIORS, *MODELS) if name not in REFUSED])
def test_onnxruntime_makes_the_images_of_torch(name, tmp_path, onnxruntime):
    if name == "flow":
        pytest.importorskip("zuko")
    graph = model_graph(model_with_prior(name) if name in PRIORS else model_of(name))
    onnx_file._write(graph, tmp_path / "m.onnx", {})
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    for n in (1, 29):
        given = graph.draw(n, 17)
        (made,) = session.run(None, {key: x.numpy() for key, x in zip(graph.inputs, given, strict=True)})
        assert np.abs(made - graph.compute(*given).numpy()).max() < 1e-4
