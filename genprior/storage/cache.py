"""The cache folder, content hashes, and results that are cached on disk under a hash of their content."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from genprior.errors import DataError, ScoreError
from genprior.storage.cache_folder import cache_folder
from genprior.storage.files import remove_partial, whole_file
from genprior.storage.tensors import opened_tensors

__all__ = ["cache_folder", "content_hash", "hash_file", "keep_on_disk", "made_once"]

T = TypeVar("T")

_HASHED = 2**22
"""The bytes of a tensor that are hashed at once."""


def content_hash(*items: Tensor | str | Mapping[str, Tensor]) -> str:
    """A hash of contents: 16 hexadecimal digits that depend on every value, shape, dtype and the order.

    Args:
        items: tensors, strings, or mappings of tensors (a `state_dict`).
    """
    state = hashlib.sha256()
    for item in items:
        if isinstance(item, str):
            state.update(json.dumps(item).encode())
        elif isinstance(item, Tensor):
            state.update(f"{item.dtype}{list(item.shape)}".encode())
            for piece in _pieces(item.detach()):
                state.update(piece.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        else:
            for name in sorted(item):
                state.update(content_hash(name, item[name]).encode())
    return state.hexdigest()[:16]


def _pieces(tensor: Tensor) -> tuple[Tensor, ...]:
    """A tensor along its first axis, in pieces that need little memory: a streamed one is decoded to be hashed."""
    if tensor.ndim == 0 or tensor.numel() == 0:
        return (tensor,)
    row = tensor.numel() // len(tensor) * tensor.element_size()
    return torch.split(tensor, max(1, _HASHED // row))


def hash_file(path: Path) -> str:
    """A hash of a file's content, 16 hexadecimal digits; a file that this process has read before is not read again.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        state = path.stat()
        # The time of the last change of the inode is not one that programs can set, other than that of modification.
        return _hash_of(path, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
    except OSError as problem:
        raise DataError(f"{path}: it cannot be read ({problem.strerror or problem}); repair or remove it") from problem


@functools.lru_cache(maxsize=1_000_000)
def _hash_of(path: Path, *state: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def made_once(
    path: Path, read: Callable[[Path], T | None], make: Callable[[], T], write: Callable[[Path, T], None]
) -> T:
    """Read the content of the cache file `path`, or make it and write it for this and later processes.

    One process makes it while the others wait, so that all use the same content.

    Args:
        path: a file whose name identifies its content.
        read: reads the content; None for a file that is missing or cannot be read, which is then made again.
        make: makes the content.
        write: writes the content atomically.

    Raises:
        ScoreError: the folder cannot be written.
    """
    if (cached := read(path)) is not None:
        return cached
    with contextlib.ExitStack() as stack:
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(f"{path}.lock"))
        if (cached := read(path)) is None:
            cached = make()
            with _writing(path):
                remove_partial(path.parent, path.name)
                write(path, cached)
        return cached


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        failure = ScoreError(
            f"cannot write '{path}' ({getattr(error, 'strerror', None) or error}); free some space, or set "
            "GENPRIOR_DATA to a folder that can be written"
        )
        failure.exit_code = 1
        raise failure from error


def keep_on_disk(
    path: Path, make: Callable[[], tuple[dict[str, Tensor], dict[str, str]]]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and their notes from the cache file `path`, or make them and write it, see `made_once`.

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
        with opened_tensors(path) as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None


def _write(path: Path, content: tuple[dict[str, Tensor], dict[str, str]]) -> None:
    tensors, notes = content
    with whole_file(path) as partial:
        save_file(tensors, partial, metadata=notes)
