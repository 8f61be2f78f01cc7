"""Line numbers of the keys of a TOML text, for error messages."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

__all__ = ["Path", "line_of", "lines"]

Path = tuple[str | int, ...]

_HEADER = re.compile(r"^\s*(\[\[|\[)\s*(.+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")
_TOKEN = re.compile(
    r'''"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|#[^\n]*|[\[{]|[\]}]|\n''', re.DOTALL
)


def _split(dotted: str) -> tuple[str, ...]:
    table: Any = tomllib.loads(f"{dotted} = 0")
    keys: list[str] = []
    while isinstance(table, dict):
        key, table = next(iter(table.items()))
        keys.append(key)
    return tuple(keys)


def _starts(text: str) -> Iterator[tuple[int, str]]:
    """The number and text of each line that is not inside a value of several lines."""
    number, depth, shown = 1, 0, text.split("\n")
    yield 1, shown[0]
    for token in _TOKEN.finditer(text):
        if token[0] in ("[", "{"):
            depth += 1
        elif token[0] in ("]", "}"):
            depth -= 1
        number += token[0].count("\n")
        if token[0] == "\n" and depth == 0:
            yield number, shown[number - 1]


def lines(text: str) -> dict[Path, int]:
    """The line number, from 1, of each table header and each key of a valid TOML text.

    Keys inside an inline table are not listed; `line_of` returns the line of the key of the inline table.
    """
    found: dict[Path, int] = {}
    table: Path = ()
    counts: dict[Path, int] = {}
    for number, line in _starts(text):
        header = _HEADER.match(line)
        key = _KEY.match(line)
        if key:
            found.setdefault(table + _split(key[1]), number)
        elif header:
            name: Path = _split(header[2])
            if header[1] == "[[":
                found.setdefault(name, number)
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
