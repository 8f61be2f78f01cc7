"""Mutations of values, tables, texts and bytes; every choice is drawn from a `random.Random`."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

NUMBERS = (0, 1, -1, 2, 3, 1e-9, -0.0, 0.5, 1.5, 255, 65_536, 2**31, 2**63, 2**64, 10**30, -(2**63) - 1, 1e308, -1e308)
TEXTS = (
    "", " ", "a", "../x", "/", "\x00", "\x1b[31m", "\u202e", "\ud800", "é", "nan", "inf", "none", "true", "0", "-1",
    "{}", "gaussian", "mlp", "aae", "gan", "digits", "x" * 300, "line\nline", "a,b", "=1+1", "%s{}%d", "con",
    "C:\\x", "default",
)  # fmt: skip
SPECIAL = (None, True, False, float("nan"), float("inf"), -float("inf"), [], {}, [[]], [{}], {"": 0}, [None], [1, "a"])
TOML_TOKENS = (
    "[", "]", "[[", "]]", "{", "}", "=", ".", ",", "#", '"', "'", '"""', "\n", "\r", "\\", "\\u0000", "\x00", "\ufeff",
    "1e999", "nan", "-inf", "0x", "1_0", "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "true", "[row]", "[[row]]",
    "[model]", "[change.a]", "name", "a.b.c", "9" * 30, "9" * 5000, "[" * 50, "{a=" * 30, "\U0001f600",
)  # fmt: skip
JSON_TOKENS = (
    "{", "}", "[", "]", ",", ":", '"', "null", "NaN", "Infinity", "-Infinity", "1e999", "true", "\\ud800", "\x00", "\n",
    "\ufeff", "9" * 30, "9" * 5000, "[" * 3000, '{"a":' * 3000, '"step"', "-1", "0.5", "\u2028",
)  # fmt: skip


def value(random: Random) -> Any:
    """A value of any type, mostly one of a kind that has broken programs before."""
    kind = random.randrange(6)
    if kind == 0:
        return random.choice(NUMBERS)
    if kind == 1:
        return random.choice(TEXTS)
    if kind == 2:
        return copy.deepcopy(random.choice(SPECIAL))
    if kind == 3:
        return random.randint(-5, 40)
    if kind == 4:
        return [value(random) for _ in range(random.randrange(4))]
    return {random.choice([*TEXTS, "name", "size"]): value(random) for _ in range(random.randrange(3))}


def _places(tree: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every container of a tree with each of its keys."""
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree))) if isinstance(tree, list) else []
    for key in keys:
        found.append((tree, key))
        _places(tree[key], found)
    return found


def mutated_tree(random: Random, tree: Any) -> Any:
    """A copy of a tree of dicts and lists in which a few values, types, keys or branches are changed."""
    root = [copy.deepcopy(tree)]
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        places = _places(root, [])
        if not places:
            break
        parent, key = random.choice(places)
        action = random.randrange(9)
        other_parent, other = random.choice(places)
        if action <= 2:
            parent[key] = _near(random, parent[key]) if random.random() < 0.5 else value(random)
        elif action == 3 and parent is not root:
            del parent[key]
        elif action == 4:
            parent[key] = copy.deepcopy(other_parent[other])
        elif action == 5:
            parent[key] = [parent[key]] if random.random() < 0.5 else {random.choice(TEXTS): parent[key]}
        elif action == 6 and isinstance(parent, dict):
            parent[_misspelt(random, key)] = parent.pop(key) if random.random() < 0.5 else parent[key]
        elif action == 7 and isinstance(parent[key], dict | list) and len(parent[key]):
            inner = parent[key]
            parent[key] = next(iter(inner.values())) if isinstance(inner, dict) else inner[0]
        elif isinstance(parent, dict):
            parent[random.choice([*TEXTS, str(other)])] = value(random)
        else:
            parent.insert(random.randrange(len(parent) + 1), value(random)) if parent is not root else None
    return root[0]


def _near(random: Random, old: Any) -> Any:
    """A value of the same type, or nearly so."""
    if isinstance(old, bool):
        return random.choice((not old, int(old), str(old)))
    if isinstance(old, int):
        return random.choice((old + 1, -old, old * 1000, float(old), str(old), old + 0.5, 0, [old], bool(old)))
    if isinstance(old, float):
        return random.choice((-old, old * 1e10, int(old), str(old), 0.0, float("nan"), float("inf"), [old]))
    if isinstance(old, str):
        return random.choice((_misspelt(random, old), old.upper(), old + old, [old], {"name": old}, "", list(old)))
    if isinstance(old, list):
        return random.choice((old + old, old[::-1], old[:1], {str(n): each for n, each in enumerate(old)}, tuple(old)))
    if not isinstance(old, dict):
        return value(random)
    return random.choice(([old], list(old), dict(list(old.items())[::-1]), str(old), {"name": old}))


def _misspelt(random: Random, text: Any) -> str:
    text = str(text)
    place = random.randrange(len(text) + 1)
    return text[:place] + random.choice(("", "x", ".", "-", " ", "é", "\x00")) + text[place + random.randrange(2) :]


def mutated_text(random: Random, text: str, tokens: tuple[str, ...]) -> str:
    """A text with some stretches removed, doubled, moved or replaced by tokens of its language."""
    for _ in range(random.choice((1, 1, 2, 4))):
        if not text:
            return random.choice(tokens)
        start = random.randrange(len(text) + 1)
        end = min(len(text), start + random.choice((0, 1, 1, 3, 10, 80)))
        action = random.randrange(6)
        if action <= 1:
            text = text[:start] + random.choice(tokens) + text[end:]
        elif action == 2:
            text = text[:start] + text[end:]
        elif action == 3:
            text = text[:end] + text[start:end] + text[end:]
        elif action == 4:
            lines = text.split("\n")
            one, two = random.randrange(len(lines)), random.randrange(len(lines))
            lines[one], lines[two] = lines[two], lines[one]
            text = "\n".join(lines)
        else:
            text = text[:start]
    return text


def mutated_bytes(random: Random, content: bytes) -> bytes:
    """Bytes with some of them flipped, removed, doubled, cut off or set to another value."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 5, 20))):
        if not data:
            return bytes(random.randrange(256) for _ in range(random.randrange(9)))
        # The beginning and the end of a file hold its structure.
        place = random.choice((random.randrange(len(data)), random.randrange(min(len(data), 128)), -1))
        action = random.randrange(6)
        if action <= 1:
            data[place] ^= 1 << random.randrange(8)
        elif action == 2:
            data[place] = random.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif action == 3:
            del data[place : place + random.choice((1, 4, 64)) or None]
        elif action == 4:
            data[place:place] = random.choice((b"\0", b"\xff" * 4, b"{", bytes(data[:16])))
        else:
            del data[random.randrange(len(data) + 1) :]
    return bytes(data)


def as_json(tree: Any) -> bytes:
    """A tree as JSON, with NaN and lone surrogates as Python writes them."""
    return json.dumps(tree).encode("utf-8")


def as_toml(tree: Any) -> str:
    """A tree as TOML; tables are written inline, so that any structure can be written."""
    if not isinstance(tree, dict):
        return _toml(tree)
    return "".join(f"{_key(key)} = {_toml(each)}\n" for key, each in tree.items())


def _key(key: Any) -> str:
    return json.dumps(str(key)).replace("\\ud", "\\\\ud").replace("\x7f", "\\u007f")


def _toml(each: Any) -> str:
    if isinstance(each, bool):
        return str(each).lower()
    if isinstance(each, float):
        return str(each)
    if isinstance(each, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_toml(inner)}" for key, inner in each.items()) + " }"
    if isinstance(each, list | tuple):
        return "[" + ", ".join(map(_toml, each)) + "]"
    if isinstance(each, int):
        return str(each)
    return '""' if each is None else _key(each)
