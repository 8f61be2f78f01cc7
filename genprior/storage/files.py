"""Files written atomically, whole or not at all, and errors of the system that say what was done to which file."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = [
    "EXPORTED",
    "append_line",
    "path_with_ending",
    "remove_partial",
    "sync",
    "to_file",
    "whole_file",
    "whole_folder",
    "write_files",
    "write_json",
    "write_text",
]

EXPORTED = "model.safetensors"
"""The name of the tensors of an exported model, whose names have no prefix: the weights that are sampled."""

_PARTIAL = re.compile(
    r"\.(?P<stem>.+)\.[0-9a-f]{8}-(?P<host>[0-9a-f]{6})(?P<boot>[0-9a-f]{6})-(?P<process>[0-9]+)(?P<suffix>(\.[^.]+)?)"
)
"""The names of the temporary files of `whole_file`, which no user would give: other hidden files are the user's."""
_OF_SAFETENSORS = re.compile(r"\.tmp[0-9A-Za-z]{6}")
"""The names of the temporary files that safetensors writes and then renames; they do not say who wrote them."""
_ABANDONED = 24 * 3600.0
"""Seconds after which a temporary file is abandoned whose process cannot be asked for."""


@contextlib.contextmanager
def to_file(action: str, path: Path) -> Iterator[None]:
    """Let an `OSError` of the block say what was being done to which file; see `genprior.errors.system_error`.

    Args:
        action: what the block does, such as `write`.
        path: the file as the user knows it, and not a temporary file beside it.
    """
    try:
        yield
    except OSError as error:
        if not getattr(error, "__notes__", ()):  # the innermost file is the one that failed
            error.add_note(f"cannot {action} {path}")
        raise


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that replaces `path` when the block ends, and is removed if the block fails.

    The umask decides who may read the file. File and folder are flushed to disk, so that a power cut leaves the old
    content or the new one.

    Raises:
        OSError: it cannot be written (a full disk, for example); `path` is unchanged.
    """
    with _partial_file(path) as partial:
        mode = partial.stat().st_mode
        yield partial
        partial.chmod(mode)  # safetensors makes files that only their owner can read
        sync(partial)
        partial.replace(path)
        sync(path.parent)


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write files that belong together: none is replaced before all are on the disk beside their places.

    Raises:
        OSError: one cannot be written, or a folder stands in its place; all files are unchanged.
    """
    with contextlib.ExitStack() as stack:
        partials = {path: stack.enter_context(_partial_file(path)) for path in contents}
        for path, partial in partials.items():
            with to_file("write", path):
                if path.is_dir():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
                partial.write_bytes(contents[path])
                sync(partial)
        for path, partial in partials.items():
            with to_file("write", path):
                partial.replace(path)
                sync(path.parent)


@contextlib.contextmanager
def _partial_file(path: Path) -> Iterator[Path]:
    """An empty temporary file beside `path`, in its folder, which is made; it is removed when the block ends."""
    host, boot = _system()
    partial = path.with_name(f".{path.stem}.{secrets.token_hex(4)}-{host}{boot}-{os.getpid()}{path.suffix}")
    with to_file("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        try:
            partial.touch(exist_ok=False)
            yield partial
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)


@functools.cache
def _system() -> tuple[str, str]:
    """Names of this host and of its numbering of processes, of which each boot and each container has one."""
    numbers = ""
    with contextlib.suppress(OSError):
        numbers = Path("/proc/sys/kernel/random/boot_id").read_text() + os.readlink("/proc/self/ns/pid")
    host, boot = (hashlib.sha256(name.encode()).hexdigest()[:6] for name in (platform.node(), numbers))
    return host, boot


def _runs(process: int) -> bool:
    """Whether a process of this system runs, as far as can be known."""
    if os.name == "nt":  # where the signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary files of `path` whose processes were killed, on this host."""
    for other in path.parent.iterdir() if path.parent.is_dir() else ():
        found = _PARTIAL.fullmatch(other.name) if other.name.startswith(".") else None
        if found is None or found["host"] != _system()[0] or found["stem"] + found["suffix"] != path.name:
            continue
        with contextlib.suppress(OSError):  # it does no harm
            # A process of an earlier boot is gone; one of another container of this host may be at work.
            asked = found["boot"] == _system()[1]
            if not _runs(int(found["process"])) if asked else time.time() - other.stat().st_mtime > _ABANDONED:
                other.unlink()


def remove_partial(folder: Path, name: str | None = None) -> None:
    """Remove the temporary files that processes which were killed left in a folder; call it while holding its lock.

    Args:
        folder: the folder, which need not exist.
        name: the file that they were to replace; by default any.
    """
    for path in folder.glob(".*"):
        found = _PARTIAL.fullmatch(path.name)
        with contextlib.suppress(OSError):  # they do no harm
            if found:
                abandoned = name is None or name == found["stem"] + found["suffix"]
            elif _OF_SAFETENSORS.fullmatch(path.name):
                # The lock of one file does not keep others from being written.
                abandoned = name is None or time.time() - path.stat().st_mtime > _ABANDONED
            else:
                abandoned = False
            if abandoned and path.is_file():
                path.unlink()


@contextlib.contextmanager
def whole_folder(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """A temporary folder that takes the place of `folder` when the block ends, and is removed if the block fails.

    Args:
        folder: its parents are made.
        replace: whether it may hold something, which is then lost.

    Raises:
        OSError: it cannot be written, or holds something and is not to be replaced; it is as before.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    old = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    partial.mkdir()
    try:
        yield partial
        if replace and folder.exists():
            folder.replace(old)
        try:
            partial.replace(folder)
        except OSError:
            if old.exists():
                old.replace(folder)
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def sync(path: Path) -> None:
    """Flush a file or folder to disk; Windows cannot open folders for that."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def path_with_ending(path: Path, ending: str) -> Path:
    """A path near another one that a message may propose for a file of an ending, such as `.onnx`."""
    if path.name in ("", "..") or path.is_dir():
        return path / f"model{ending}"
    return path.with_name(f"model{ending}") if path.name.lower() == ending else path.with_suffix(ending)


def append_line(path: Path, value: dict[str, Any]) -> None:
    """Append one line of JSON with a single write, so that readers see whole lines.

    Raises:
        OSError: it cannot be written (a full disk, for example); the file is as before, where the system allows it.
    """
    with to_file("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        line = (json.dumps(value, allow_nan=False) + "\n").encode()
        # Unbuffered: closing a file whose buffer could not be written would write it again, after its first half.
        with path.open("ab", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            try:
                written = file.write(line)
                while written < len(line):
                    written += file.write(line[written:])
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(before)
                raise
