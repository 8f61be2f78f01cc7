"""Errors of the system at files of tensors say what they are, whatever the compiled libraries make of them."""

from __future__ import annotations

import errno
import os

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from genprior import GenpriorError
from genprior.data.cache import cache_file, read_cache
from genprior.errors import DataError, system_error
from genprior.runs.embedder_file import read_embedder
from genprior.storage import checkpoint, tensors
from genprior.storage.tensors import opened_tensors, read_tensors


def loop(path):
    """A link to itself, which the system refuses to open; safetensors says that there is no such file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(path)
    return path


def test_all_tensors_are_those_of_the_library(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"b": torch.arange(3), "a": torch.randn(2, 2, generator=torch.manual_seed(0))}, path)
    mine, theirs = read_tensors(path), load_file(path)
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_a_file_that_is_there_and_not_opened_is_not_said_to_be_absent(tmp_path):
    with pytest.raises(OSError) as raised, opened_tensors(loop(tmp_path / "a.safetensors")):
        pass
    assert raised.value.errno == errno.ELOOP
    with pytest.raises(FileNotFoundError), opened_tensors(tmp_path / "absent.safetensors"):
        pass


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (FileNotFoundError("No such file or directory: a.safetensors"), errno.EIO),
        (RuntimeError("unable to mmap 96584 bytes from file <a>: No space left on device (28)"), errno.ENOSPC),
        (OSError("Resource temporarily unavailable (os error 11)"), errno.EAGAIN),
    ],
)
def test_errors_of_compiled_libraries_get_the_number_of_the_system(error, number, tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.zeros(1)}, path)

    def failing(*args, **kwargs):
        raise error

    monkeypatch.setattr(tensors, "safe_open", failing)
    with pytest.raises(OSError) as raised:
        read_tensors(path)
    assert raised.value.errno == number
    assert os.strerror(number) in str(system_error(raised.value)) and str(path) in str(system_error(raised.value))


def test_other_errors_stay(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"no tensors")
    with pytest.raises(SafetensorError):
        read_tensors(path)

    def failing(*args, **kwargs):
        raise RuntimeError("a fault of the library")

    monkeypatch.setattr(tensors, "safe_open", failing)
    with pytest.raises(RuntimeError, match="a fault of the library"):
        read_tensors(path)


def test_a_cache_an_embedder_and_a_checkpoint_that_cannot_be_opened_are_not_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("GENPRIOR_DATA", str(tmp_path / "data"))
    loop(cache_file("digits", "train"))
    with pytest.raises(DataError, match="cannot be read"):
        read_cache("digits", "train")
    with pytest.raises(OSError) as raised:
        read_embedder(loop(tmp_path / "embedder.safetensors"))
    assert raised.value.errno == errno.ELOOP
    (tmp_path / "step-00000001.json").write_text('{"format": 1, "step": 1, "sha256": "0"}')
    with pytest.raises((OSError, GenpriorError)) as refused:
        checkpoint.read(loop(tmp_path / "step-00000001.safetensors"))
    assert getattr(refused.value, "errno", None) == errno.ELOOP
    assert "cannot read" in str(system_error(refused.value))
