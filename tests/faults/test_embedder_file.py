"""The fitted embedder in a run folder: written whole, read back, damage told."""

from __future__ import annotations

import pytest
import torch

from genprior import EmbedderState, RunError
from genprior.runs.folder import RunFolder

STATE = EmbedderState(
    {"components": torch.randn(3, 4), "idf": torch.arange(3.0).double()}, {"vocabulary": '["é", "b"]'}
)


def test_what_is_written_is_read_back(tmp_path):
    files = RunFolder(tmp_path)
    assert files.embedder() is None
    files.write_embedder(STATE)
    tensors, notes = files.embedder()
    assert notes == STATE.notes and tensors.keys() == STATE.tensors.keys()
    assert all(torch.equal(tensors[name], STATE.tensors[name]) for name in tensors)


@pytest.mark.parametrize("damage", [lambda b: b[:-5], lambda b: b"", lambda b: b[:4] + b"x" * 40])
def test_a_damaged_file_is_told(damage, tmp_path):
    files = RunFolder(tmp_path)
    files.write_embedder(STATE)
    path = tmp_path / "embedder.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunError, match=r"embedder.safetensors is damaged: .* Delete it and give the training command"):
        files.embedder()


def test_a_state_that_cannot_be_written_leaves_the_old_file(tmp_path):
    files = RunFolder(tmp_path)
    files.write_embedder(STATE)
    with pytest.raises((OSError, TypeError)):
        files.write_embedder(EmbedderState(STATE.tensors, {"vocabulary": 3}))
    assert files.embedder().notes == STATE.notes
    assert [path.name for path in tmp_path.iterdir()] == ["embedder.safetensors"]


def test_a_state_without_texts_or_tensors_is_a_state(tmp_path):
    files = RunFolder(tmp_path)
    for state in (EmbedderState({}, {}), EmbedderState(STATE.tensors, {}), EmbedderState({}, STATE.notes)):
        files.write_embedder(state)
        tensors, notes = files.embedder()
        assert tensors.keys() == state.tensors.keys() and notes == state.notes
