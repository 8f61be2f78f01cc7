"""Which settings of the standard parts the recipes set, and which ones the tests name with a value of their own."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from genprior.parts import Part, PartConfig

KINDS = {"data": "dataset", "scores": "score"}
"""Keys of a recipe whose tables hold a part of another kind than the last word of the key says."""


class Setting(NamedTuple):
    """A setting of a part; `key` has a dot where it stands in a nested table."""

    kind: str
    part: str
    key: str


def settings_of(part: type[Part]) -> dict[Setting, FieldInfo]:
    """The settings of a part but its name, with those of nested tables; the parts in it have settings of their own."""

    def fields(config: type[BaseModel], before: str) -> Iterator[tuple[str, FieldInfo]]:
        for name, field in config.model_fields.items():
            inner = field.annotation
            if isinstance(inner, type) and issubclass(inner, BaseModel) and not issubclass(inner, PartConfig):
                yield from fields(inner, f"{before}{name}.")
            elif name != "name":
                yield before + name, field

    return {Setting(part.kind, part.name, key): field for key, field in fields(part.Config, "")}


# ---------------------------------------------------------------------------------------------------------------------
# Recipes
# ---------------------------------------------------------------------------------------------------------------------


def set_by_recipe(path: Path) -> set[Setting]:
    """The settings that a recipe writes: in its base, in a change, or for the rows of `when`.

    A table without a name, such as `encoder.width = 16` in a change, sets those of every part that the recipe has in
    that place.
    """
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    tables = [{key: value for key, value in content.items() if key not in ("change", "row")}]
    for change in content.get("change", {}).values():
        tables += [{key: value for key, value in change.items() if key != "when"}, *change.get("when", {}).values()]
    found = [entry for table in tables for entry in _entries(table, ())]
    names: dict[tuple[str, ...], set[str]] = {}
    for place, key, value, _ in found:
        if key == "name":
            names.setdefault(place, set()).add(value)
    settings = set()
    for place, key, _, name in found:
        for part in {name} if name else names.get(place, set()):
            settings.add(Setting(_kind(place), part, key))
        for part in names.get(place[:-1], set()):
            settings.add(Setting(_kind(place[:-1]), part, f"{place[-1]}.{key}"))
    return settings


def _entries(table: Mapping[str, Any], place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, Any, str]]:
    """Every (place of its table, key, value, name in its table) of a table and of those in it."""
    for key, value in table.items():
        yield place, key, value, table.get("name", "")
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, dict):
                yield from _entries(inner, (*place, key))


def _kind(place: tuple[str, ...]) -> str:
    last = place[-1] if place else ""
    if place[-2:-1] == ("optimiser",):  # the table of a module
        return "optimiser"
    return KINDS.get(last, last.rpartition("_")[2])


# ---------------------------------------------------------------------------------------------------------------------
# Tests
# ---------------------------------------------------------------------------------------------------------------------


class TestFile(NamedTuple):
    """What a test file names: words (of code and in texts), and for each key the values that it is given."""

    words: set[str]
    values: dict[str, list[Any]]


def read_tests(path: Path) -> TestFile:
    """Read keyword arguments, entries of dictionaries, and assignments in texts (TOML, command lines)."""
    words: set[str] = set()
    values: dict[str, list[Any]] = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name):
            words.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words |= set(re.findall(r"\w+", node.value))
            for key, text in re.findall(r"\b(\w+)\s*=\s*([^,}\n]+)", node.value):
                values.setdefault(key, []).append(_value(text))
        elif isinstance(node, ast.keyword) and node.arg:
            values.setdefault(node.arg, []).append(_literal(node.value))
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    values.setdefault(key.value, []).append(_literal(value))
    return TestFile(words, values)


def named_in(test: TestFile, setting: Setting, field: FieldInfo, part: type[Part]) -> bool:
    """Whether a test file that names the part gives the key of the setting a value other than its default.

    A value that is computed counts as another one. Which call the key belongs to is not looked at: a helper or a
    parametrised test hands settings on in too many ways.
    """
    if not {part.__name__, part.name} & test.words:
        return False
    default = field.get_default(call_default_factory=True)
    default = list(default) if isinstance(default, tuple) else default
    return any(value != default for value in test.values.get(setting.key.rpartition(".")[2], ()))


def _literal(node: ast.expr) -> Any:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return object()  # equal to nothing
    return list(value) if isinstance(value, tuple) else value


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return object()
