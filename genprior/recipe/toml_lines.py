"""Line numbers of the keys of a TOML text, for error messages."""

from __future__ import annotations

import re
import tomllib
from typing import Any

__all__ = ["Path", "line_of", "lines"]

Path = tuple[str | int, ...]

_HEADER = re.compile(r"^\s*(\[\[|\[)\s*(.+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")


def _split(dotted: str) -> tuple[str, ...]:
    table: Any = tomllib.loads(f"{dotted} = 0")
    keys: list[str] = []
    while isinstance(table, dict):
        key, table = next(iter(table.items()))
        keys.append(key)
    return tuple(keys)


def lines(text: str) -> dict[Path, int]:
    """The line number, from 1, of each table header and each key of a valid TOML text.

    Keys inside an inline table are not listed; `line_of` returns the line of the key of the inline table.
    """
    found: dict[Path, int] = {}
    table: Path = ()
    counts: dict[Path, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.match(line)
        key = _KEY.match(line)
        if key:
            found.setdefault(table + _split(key[1]), number)
        elif header:
            name: Path = _split(header[2])
            if header[1] == "[[":
                counts[name] = counts.get(name, -1) + 1
                name = (*name, counts[name])
            table = name
            found.setdefault(table, number)
    return found


def line_of(path: Path, found: dict[Path, int]) -> int | None:
    """The line of the longest prefix of `path` that has one."""
    for length in range(len(path), 0, -1):
        if path[:length] in found:
            return found[path[:length]]
    return None
