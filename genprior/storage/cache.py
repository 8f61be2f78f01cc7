"""The cache folder, and what is kept there under a hash of its content."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import platformdirs
import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from genprior.errors import ScoreError
from genprior.storage.files import whole_file

__all__ = ["cache_folder", "content_hash", "keep_on_disk", "made_once"]

T = TypeVar("T")


def cache_folder() -> Path:
    """Where decoded data sets are kept: `$GENPRIOR_DATA`, else the user's cache folder (`~/.cache/genprior/data`)."""
    own = os.environ.get("GENPRIOR_DATA")
    return Path(own).expanduser() if own else platformdirs.user_cache_path("genprior", appauthor=False) / "data"


def content_hash(*items: Tensor | str | Mapping[str, Tensor]) -> str:
    """A hash of contents: 16 hexadecimal digits that change with any value, shape, dtype or order.

    Args:
        items: tensors, strings, or mappings of tensors (a `state_dict`).
    """
    state = hashlib.sha256()
    for item in items:
        if isinstance(item, str):
            state.update(json.dumps(item).encode())
        elif isinstance(item, Tensor):
            flat = item.detach().cpu().contiguous()
            state.update(f"{flat.dtype}{list(flat.shape)}".encode())
            state.update(flat.reshape(-1).view(torch.uint8).numpy().data)
        else:
            for name in sorted(item):
                state.update(content_hash(name, item[name]).encode())
    return state.hexdigest()[:16]


def made_once(
    path: Path, read: Callable[[Path], T | None], make: Callable[[], T], write: Callable[[Path, T], None]
) -> T:
    """What `path` keeps, or what is made and written there now, for this and later processes.

    One process makes it while the others wait, and then all go on with the very same content.

    Args:
        path: a file whose name identifies its content.
        read: gives the content; None where there is no file, or one that cannot be read, which is then made anew.
        make: makes the content.
        write: writes the content, whole or not at all.

    Raises:
        ScoreError: the folder cannot be written.
    """
    if (found := read(path)) is not None:
        return found
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if (found := read(path)) is None:
                found = make()
                write(path, found)
            return found
    except OSError as error:
        raise ScoreError(
            f"cannot write '{path}' ({error.strerror or error}); free some space, or set GENPRIOR_DATA to a folder "
            "that can be written"
        ) from error


def keep_on_disk(
    path: Path, make: Callable[[], tuple[dict[str, Tensor], dict[str, str]]]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and their notes from `path`, or make them and write them there, see `made_once`.

    Args:
        path: a safetensors file whose name identifies its content.
        make: makes the tensors and their notes.

    Raises:
        ScoreError: the folder cannot be written.
    """

    def on_host() -> tuple[dict[str, Tensor], dict[str, str]]:
        tensors, notes = make()
        return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, notes

    return made_once(path, _read, on_host, _write)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (FileNotFoundError, SafetensorError):
        return None


def _write(path: Path, content: tuple[dict[str, Tensor], dict[str, str]]) -> None:
    tensors, notes = content
    with whole_file(path) as partial:
        save_file(tensors, partial, metadata=notes)
