"""Reports all mistakes of a recipe at once, each with its line, its path and what is possible."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from pydantic import BaseModel, ValidationError, WithJsonSchema

from genprior.errors import RecipeError, did_you_mean, listed, what_is_wrong
from genprior.parts import Model, Optimiser, PartConfig, Schedule
from genprior.recipe.optimiser import having
from genprior.recipe.plan import Plan
from genprior.recipe.toml_lines import Path
from genprior.registry import Registry

__all__ = ["MOST", "Mistake", "explained", "explained_settings", "report"]

MOST = 200
"""Mistakes that are listed; a file that is no recipe may have any number."""
_NAMING_OTHERS = (Optimiser.kind, Schedule.kind, Model.kind)
"""Kinds of parts of which a message about a setting that one lacks names those that have it."""
_LONGEST = 200
"""Characters of a value in a message."""


@dataclass(frozen=True)
class Mistake:
    """One mistake of a recipe."""

    line: int | None
    """Its line in the file, from 1; None if it is not in the file."""
    path: str
    """The key, such as `model.prior.noise`."""
    text: str
    """What is wrong, and what is possible."""


def explained(
    error: ValidationError, table: Mapping[str, Any], registry: Registry, validated: type[BaseModel] = Plan
) -> Iterable[tuple[Path, str]]:
    """The path of each mistake of a table, of the first ones, with what is wrong and what is possible.

    Args:
        error: the error that `model_validate` raised.
        table: the table that was validated.
        registry: the registry of possible parts.
        validated: the class that validated it, of a plan or of a part's settings.
    """
    errors = error.errors()[: MOST + 1]
    within = {tuple(each["loc"])[:end] for each in errors for end in range(len(each["loc"]))}
    short: set[Path] = set()
    ways: dict[Path, list[Any]] = {}
    for each in errors:
        ways.setdefault(_in_table(tuple(each["loc"]), table), []).append(each)
    for each in errors:
        path = _in_table(tuple(each["loc"]), table)
        if path != tuple(each["loc"]):  # a setting of several types is one mistake, not one for each of them
            if wrong := ways.pop(path, None):
                yield path, f"{', or '.join(dict.fromkeys(map(_what, wrong)))}; got {_given(each)}"
            continue
        if each["type"] == "too_short" and path in within:
            continue  # pydantic counts the items that are valid, and those that are not are mistakes of their own
        if each["type"] == "missing" and isinstance(path[-1], int):  # one of each item that a list lacks
            path = path[:-1]
            if path not in short:
                short.add(path)
                yield path, f"list has too few items; got {_given(each)}"
            continue
        yield path, _text(each, path, table, registry, validated)


def explained_settings(error: ValidationError, kind: str, table: Mapping[str, Any], registry: Registry) -> str:
    """The mistakes in the settings of one part, which `Registry.configure` refused, in a line."""
    config = registry.find(kind, table.get("name", registry.default_name(kind))).Config
    found = explained(error, table, registry, config)
    return "; ".join(f"{'.'.join(map(str, path)) or 'it'}: {text}" for path, text in found)


def _text(error: Any, path: Path, merged: Mapping[str, Any], registry: Registry, validated: type[BaseModel]) -> str:
    """What is wrong and what is possible, for one of pydantic's errors."""
    kind = error["type"]
    if kind == "extra_forbidden":
        owner, key = _owner_of(path[:-1], merged, registry, validated), str(path[-1])
        possible = [each for each in (owner.model_fields if owner is not None else ()) if each != "name"]
        others = _others_having(owner, key, registry)
        if others:
            return (
                f"'{others[0]}' has no setting '{key}', which would have no effect; it is a setting of "
                f"{_all_of(others[1:])}. Possible: {', '.join(sorted(possible))}"
            )
        return f"unknown key '{key}'{did_you_mean(key, possible)}"
    if kind == "missing":
        return "is missing"
    if kind == "removed_setting":
        return str(error["msg"])
    if kind == "value_error":
        return str(error["ctx"]["error"])
    return f"{_what(error)}; got {_given(error)}"


def _what(error: Any) -> str:
    wrong = what_is_wrong(error)
    return f"{wrong[0].lower()}{wrong[1:]}"


def _in_table(path: Path, table: Any) -> Path:
    """A path without what pydantic adds to that of a single value: which of several types did not fit."""
    for place, key in enumerate(path):
        if isinstance(table, str | int | float):
            return path[:place]
        try:
            table = table[key]
        except (LookupError, TypeError):  # a key that is missing, or a part that is made already
            break
    return path


def _given(error: Any) -> str:
    given = repr(error["input"])
    return given if len(given) <= _LONGEST else f"{given[:_LONGEST]}..."


def _others_having(owner: type[BaseModel] | None, key: str, registry: Registry) -> list[str]:
    """The name of an optimiser, schedule or model, and those of its kind that have a setting which it lacks."""
    if owner is None or not issubclass(owner, PartConfig) or owner.part.kind not in _NAMING_OTHERS:
        return []
    others = having(key, owner.part.kind, registry)
    return [owner.part.name, *others] if others else []


def _all_of(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _owner_of(
    path: Path, merged: Mapping[str, Any], registry: Registry, validated: type[BaseModel]
) -> type[BaseModel] | None:
    """The class of the settings that the table at `path` of the validated one holds."""
    owner: Any = validated
    table: Any = merged
    for key in path:
        annotation: Any = Any
        metadata: tuple[Any, ...] = ()
        if isinstance(owner, type) and issubclass(owner, BaseModel):
            field = owner.model_fields[str(key)]
            annotation, metadata = field.annotation, tuple(field.metadata)
        elif typing.get_origin(owner) in (dict, tuple, list):
            arguments = [a for a in typing.get_args(owner) if a not in (Ellipsis, str)]
            annotation = arguments[0]
        try:
            table = table[key]
        except LookupError:  # a part has upgraded the table in the meantime
            return None
        owner = _owner(annotation, metadata, table, str(key), registry)
    return owner if isinstance(owner, type) and issubclass(owner, BaseModel) else None


def _owner(annotation: Any, metadata: tuple[Any, ...], table: Any, key: str, registry: Registry) -> Any:
    """The configuration class of a field; of a part, it is found by the name in the table, or by a hook's key."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        options = (each for each in typing.get_args(annotation) if each is not type(None))
        return next((_owner(each, (), table, key, registry) for each in options), Any)
    if hasattr(annotation, "__metadata__"):
        metadata, annotation = (*metadata, *annotation.__metadata__), annotation.__origin__
    for each in metadata:
        if isinstance(each, WithJsonSchema) and each.json_schema is not None and "part" in each.json_schema:
            kind = each.json_schema["part"]
            return registry.find(kind, table.get("name", registry.default_name(kind) or key)).Config
    return annotation


def report(file: FilePath | str, mistakes: list[tuple[Mistake, list[str]]]) -> RecipeError:
    """The error that lists all mistakes, one line each, in the order of the file."""
    ordered = sorted(mistakes, key=lambda m: (m[0].line is None, m[0].line or 0, m[0].path))
    shown = []
    for mistake, rows in ordered:
        where = f"{file}:{mistake.line}" if mistake.line else str(file)
        shown.append(f"{where}: {mistake.path}: {mistake.text}" + (f" [row {listed(rows)}]" if rows else ""))
    if len(shown) > MOST:
        shown = [*shown[:MOST], "..."]
        count = f"more than {MOST} mistakes"
    else:
        count = f"{len(shown)} mistakes" if len(shown) > 1 else "a mistake"
    return RecipeError(f"the recipe has {count}:\n" + "\n".join(f"  {line}" for line in shown))
