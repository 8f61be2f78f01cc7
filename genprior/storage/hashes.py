"""Hashes of many files, remembered on disk, so that a large set is read for its hash only once."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from genprior.storage.cache import cache_folder, content_hash, hash_file
from genprior.storage.files import whole_file

__all__ = ["hash_files"]

_SETTLED = 2.0
"""Seconds after which a file system gives a changed file another time."""

_State = tuple[int, int, int, int]


def hash_files(files: Sequence[Path], remembered_as: str) -> list[str]:
    """The hash of the content of each file, as `hash_file` gives it; a file that has not changed is not read again.

    A file is the same while its size, its inode and the times of its last change are, of which programs cannot set one;
    a file that was changed in the last seconds is not remembered, as its times may not tell of the next change.

    Args:
        files: their absolute paths.
        remembered_as: names the file in the cache folder that remembers the hashes. If it cannot be written, nothing
            is remembered.

    Raises:
        DataError: a file cannot be read.
    """
    path = cache_folder() / f"hashes-{content_hash(remembered_as)}.json"
    known = _read(path)
    begun = time.time()
    with ThreadPoolExecutor() as pool:
        states = dict(zip(map(str, files), pool.map(_state, files), strict=True))
        hashes = {name: known[name] for name, state in states.items() if name in known and known[name][0] == state}
        missing = [file for file in files if str(file) not in hashes]
        try:
            for file, found in zip(missing, pool.map(hash_file, missing), strict=True):
                hashes[str(file)] = states[str(file)], found
        finally:  # an interrupted reading of a large set is resumed where it ended
            if missing:
                _write(path, {name: each for name, each in hashes.items() if _settled(each[0], begun)})
    return [hashes[str(file)][1] for file in files]


def _state(file: Path) -> _State:
    try:
        found = file.stat()
    except OSError:  # hash_file says what is wrong
        return -1, 0, 0, 0
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _settled(state: _State, now: float) -> bool:
    return max(state[1], state[2]) / 1e9 < now - _SETTLED


def _read(path: Path) -> dict[str, tuple[_State, str]]:
    """The remembered hashes; none where the file is missing or damaged."""
    try:
        kept = json.loads(path.read_bytes())
        return {
            str(name): ((int(a), int(b), int(c), int(d)), str(found)) for name, ((a, b, c, d), found) in kept.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _write(path: Path, hashes: dict[str, tuple[_State, str]]) -> None:
    with contextlib.suppress(OSError), whole_file(path) as partial:
        partial.write_text(json.dumps(hashes))
