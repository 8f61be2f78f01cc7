"""Exported folders that were altered, and names on the hub that lead elsewhere."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

import genprior
from genprior.errors import CheckpointError, RunError
from genprior.runs.hub import local_folder, repository_of
from genprior.runs.trainer import Trainer
from genprior.storage import checkpoint

pytestmark = pytest.mark.usefixtures("no_curves")


@pytest.fixture
def exported(tiny_plan, tmp_path):
    """A run, and its exported folder."""
    Trainer(tiny_plan("A+B+C", "run.steps=2"), 0, tmp_path / "run").run(until=2)
    genprior.export_folder(tmp_path / "run", tmp_path / "model")
    return tmp_path / "run", tmp_path / "model"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64, torch.float64])
def test_weights_of_another_dtype_are_refused_and_not_rounded(exported, dtype):
    _, folder = exported
    facts = json.loads((folder / "model.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    altered = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    known = {key: value for key, value in facts.items() if key not in ("format", "step", "sha256")}
    checkpoint.save(folder / "model.safetensors", facts["step"], altered, known)
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(CheckpointError, match=rf"does not fit recipe.toml: .* is {name} \[.*the model has float32"):
        genprior.load_run(folder).sample(1)


@pytest.mark.parametrize("name", ["README.md", "model.json", "card.png"])
def test_force_replaces_no_link_and_no_folder_of_the_user(exported, tmp_path, name):
    run, folder = exported
    mine = tmp_path / "mine"
    shutil.copy(folder / name, mine)
    (folder / name).unlink()
    (folder / name).symlink_to(mine)
    before = mine.read_bytes()
    with pytest.raises(RunError, match=f"also holds {name}, which would be lost. Nothing was changed"):
        genprior.export_folder(run, folder, force=True)
    assert (folder / name).is_symlink() and mine.read_bytes() == before
    if name == "README.md":
        (folder / name).unlink()
        (folder / name).mkdir()
        with pytest.raises(RunError, match="README.md, which would be lost"):
            genprior.export_folder(run, folder, force=True)


@pytest.mark.parametrize("name", ["a/..", "../..", "./.", "a/.b", "é/ü", "a/b/c", "hf://a/..", "-a/b", "a b/c", ""])
def test_a_name_on_the_hub_leads_nowhere_else(name):
    with pytest.raises(RunError, match="is no name of a repository on the hub; give user/name"):
        repository_of(name)


@pytest.mark.parametrize("address", ["hf://", "hf:///", "hf://a/../b", "hf://../a"])
def test_an_address_without_a_name_is_no_folder(address):
    with pytest.raises(RunError, match="is no name of a repository on the hub; give user/name"):
        local_folder(address)
