"""The typed recipe: a base, named changes, rows; read, merged and validated, with all mistakes in one report."""

from __future__ import annotations

import copy
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from pydantic import BaseModel, ValidationError, WithJsonSchema

from genprior.errors import RecipeError, did_you_mean
from genprior.recipe.plan import Plan
from genprior.recipe.toml_lines import Path, line_of, lines
from genprior.registry import Registry, installed

__all__ = ["Recipe", "load_recipe"]

_CHANGEABLE = ("run", "data", "scores", "optimiser", "model")
_TOP = ("title", *_CHANGEABLE, "change", "row")


@dataclass(frozen=True)
class Recipe:
    """A recipe that has been read: its rows, each resolved and valid."""

    name: str
    """The file's name without its ending; names the folder of its runs."""
    title: str
    plans: tuple[Plan, ...]
    """The chosen rows, in the order of the file."""

    def row(self, label: str) -> Plan:
        """The plan of a row.

        Raises:
            RecipeError: there is no such row.
        """
        for plan in self.plans:
            if plan.label == label:
                return plan
        raise RecipeError(f"there is no row '{label}'{did_you_mean(label, [p.label for p in self.plans])}")


@dataclass(frozen=True)
class _Mistake:
    line: int | None
    path: str
    text: str


@dataclass(frozen=True)
class _Source:
    """Where a value came from: a beginning of paths in the file, or a setting of the command line."""

    prefix: Path = ()
    setting: str = ""


def load_recipe(
    path: str | FilePath,
    *,
    changes: Sequence[str] = (),
    settings: Sequence[str] = (),
    rows: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    registry: Registry | None = None,
) -> Recipe:
    """Read a recipe, apply changes and settings to its rows, and validate every row.

    Args:
        path: the TOML file.
        changes: named changes to apply to every row, after the row's own (`--with`).
        settings: `PATH=VALUE` with TOML values, applied last (`--set`).
        rows: labels of the rows to keep; all by default.
        seeds: seeds in place of `run.seeds`.
        registry: where parts are found; the installed ones by default.

    Raises:
        RecipeError: lists every mistake of every row, with its line, its path and what is possible.
    """
    file = FilePath(path)
    document, found = _read(file)
    mistakes: list[_Mistake] = []
    for key in document:
        if key not in _TOP:
            mistakes.append(_Mistake(line_of((key,), found), key, f"unknown table '{key}'{did_you_mean(key, _TOP)}"))
    parsed = [_setting(text) for text in settings]
    if seeds is not None:
        parsed.append(("--seeds", {"run": {"seeds": list(seeds)}}))
    labels = _labels(document, found, mistakes)
    known_changes = document.get("change", {})
    for name in changes:
        if name not in known_changes:
            mistakes.append(_Mistake(None, "--with", f"there is no change '{name}'{did_you_mean(name, known_changes)}"))
    for label in rows or ():
        if label not in labels.values():
            mistakes.append(
                _Mistake(None, "--rows", f"there is no row '{label}'{did_you_mean(label, labels.values())}")
            )
    registry = registry or installed()
    mistakes += _wrong_changes(known_changes, found, {part.name for part in registry.all()})
    if mistakes:
        raise _report(file, [(m, []) for m in mistakes])
    plans: list[Plan] = []
    by_row: dict[_Mistake, list[str]] = {}
    for index, label in labels.items():
        if rows is not None and label not in rows:
            continue
        wanted = [*document["row"][index].get("changes", []), *changes]
        plan, wrong = _resolve(document, found, index, label, wanted, parsed, registry)
        plans += [plan] if plan is not None else []
        for mistake in wrong:
            by_row.setdefault(mistake, []).append(label)
    if by_row:
        raise _report(file, list(by_row.items()))
    return Recipe(file.stem, document.get("title", file.stem), tuple(plans))


def _read(file: FilePath) -> tuple[dict[str, Any], dict[Path, int]]:
    try:
        text = file.read_text(encoding="utf-8")
        return tomllib.loads(text), lines(text)
    except FileNotFoundError:
        near = [p.name for p in sorted(file.parent.glob("*.toml"))] if file.parent.is_dir() else []
        folder = f" in {file.parent}" if near else ""
        raise RecipeError(f"there is no recipe file {file}{did_you_mean(file.name, near)}{folder}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"the recipe {file} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{file} is not valid TOML: {error}") from error


def _labels(document: dict[str, Any], found: dict[Path, int], mistakes: list[_Mistake]) -> dict[int, str]:
    """The rows' labels by their place; a recipe without rows is one row with no changes."""
    rows = document.setdefault("row", [{"label": "base", "changes": []}])
    labels: dict[int, str] = {}
    for index, row in enumerate(rows):
        line = line_of(("row", index), found)
        label = row.get("label")
        if not isinstance(label, str) or not label or "/" in label or label.startswith("."):
            text = f"a row needs a label that can name a folder; this one has {label!r}"
            mistakes.append(_Mistake(line, f"row.{index}.label", text))
            continue
        if label in labels.values():
            mistakes.append(_Mistake(line, f"row.{index}.label", f"two rows have the label '{label}'"))
        labels[index] = label
        for key in row:
            if key not in ("label", "changes"):
                text = f"unknown key '{key}' of a row{did_you_mean(key, ('label', 'changes'))}"
                mistakes.append(_Mistake(line_of(("row", index, key), found), f"row.{index}.{key}", text))
        for name in row.get("changes", []):
            if name not in document.get("change", {}):
                text = f"there is no change '{name}'{did_you_mean(str(name), document.get('change', {}))}"
                mistakes.append(_Mistake(line_of(("row", index, "changes"), found), f"row.{index}.changes", text))
    return labels


def _setting(text: str) -> tuple[str, dict[str, Any]]:
    path, equals, value = text.partition("=")
    try:
        if not equals or not path.strip():
            raise ValueError
        return f"--set {text}", tomllib.loads(f"{path} = {value}")
    except ValueError:
        raise RecipeError(
            f"--set {text}: a PATH=VALUE with a TOML value is needed, such as run.steps=800, run.seeds=[0,1] "
            "or 'data.name=\"mnist\"' (a text stands in double quotes, so put single quotes around the whole)"
        ) from None


def _merge(
    base: dict[str, Any], change: Mapping[str, Any], source: _Source, origins: dict[Path, _Source], at: Path = ()
) -> None:
    """Apply a change in place: a table that names another part replaces the old one whole, else keys merge."""
    for key, value in change.items():
        here = (*at, key)
        old = base.get(key)
        if isinstance(value, Mapping) and isinstance(old, dict) and not _replaces(value, old):
            _merge(old, value, source, origins, here)
        else:
            for stale in [p for p in origins if p[: len(here)] == here]:
                del origins[stale]
            base[key] = copy.deepcopy(value)
            origins[here] = source


def _replaces(value: Any, old: Any) -> bool:
    """Whether a table names another part than the one that is there."""
    return (
        isinstance(value, Mapping)
        and isinstance(old, Mapping)
        and value.get("name", old.get("name")) != old.get("name")
    )


def _leaves(table: Mapping[str, Any], at: Path = ()) -> Iterable[tuple[Path, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*at, key))
        else:
            yield (*at, key), value


def _wrong_changes(changes: Mapping[str, Any], found: dict[Path, int], parts: set[str]) -> list[_Mistake]:
    """What changes set that they cannot; `when` holds tables like their own, by the name of a part."""
    mistakes = []
    tables: list[tuple[Path, Any]] = []
    for name, change in changes.items():
        tables.append((("change", name), {key: value for key, value in change.items() if key != "when"}))
        for part, inner in change.get("when", {}).items():
            where = ("change", name, "when", part)
            tables.append((where, inner))
            if part not in parts:
                text = f"there is no part named '{part}'{did_you_mean(part, parts)}"
                line = line_of((*where, next(iter(inner), "")), found)
                mistakes.append(_Mistake(line, ".".join(where), text))
    for prefix, table in tables:
        for key in table if isinstance(table, Mapping) else ["when"]:
            if key not in _CHANGEABLE:
                possible = _CHANGEABLE if "when" in prefix else (*_CHANGEABLE, "when")
                text = f"a change cannot set '{key}'{did_you_mean(key, possible)}"
                mistakes.append(_Mistake(line_of((*prefix, key), found), ".".join(map(str, (*prefix, key))), text))
    return mistakes


def _changes_of(
    document: Mapping[str, Any], names: Sequence[str], merged: Mapping[str, Any]
) -> Iterable[tuple[str, Path, Mapping[str, Any]]]:
    """The changes of a row with their places in the file, each one's `when` of the row's parts after what is for all.

    What stands under `when.NAME` is for rows whose model has that name, or has a part of that name. `merged` is the row
    as far as it is merged when a change is taken, so a change may choose a part, and later ones go by it.
    """
    for name in dict.fromkeys(names):
        change = document["change"][name]
        yield name, ("change", name), {key: value for key, value in change.items() if key != "when"}
        model = merged.get("model")
        tables = [model, *model.values()] if isinstance(model, Mapping) else []
        there = {table.get("name") for table in tables if isinstance(table, Mapping)}
        for part in change.get("when", {}):
            if part in there:
                yield name, ("change", name, "when", part), change["when"][part]


def _resolve(
    document: dict[str, Any],
    found: dict[Path, int],
    index: int,
    label: str,
    changes: Sequence[str],
    settings: Sequence[tuple[str, dict[str, Any]]],
    registry: Registry,
) -> tuple[Plan | None, list[_Mistake]]:
    """One row: its merged tables validated, or its mistakes."""
    merged: dict[str, Any] = {}
    origins: dict[Path, _Source] = {}
    base = {key: document[key] for key in ("title", *_CHANGEABLE) if key in document}
    _merge(merged, base, _Source(), origins)
    wrong: list[_Mistake] = []
    set_by: dict[Path, tuple[str, Any]] = {}
    for name, prefix, change in _changes_of(document, changes, merged):
        anew = {key for key, value in change.items() if _replaces(value, merged.get(key))}
        for path, value in _leaves(change):
            if path[0] in anew:
                undone = next(
                    (by for set_path, (by, _) in set_by.items() if set_path[0] == path[0] and by != name), None
                )
                if undone and path[1:] == ("name",):
                    text = (
                        f"change '{name}' takes another {path[0]}, '{value}', and would undo what '{undone}' sets of "
                        f"the one before; put '{name}' first among the row's changes"
                    )
                    wrong.append(_Mistake(line_of((*prefix, *path), found), ".".join(map(str, path)), text))
                # A change that takes another model or data set is what later changes start from, not one of them.
                if path[1:] != ("name",):
                    continue
            other, first = set_by.setdefault(path, (name, value))
            if first != value and other != name:
                text = f"changes '{other}' and '{name}' of one row set it differently: {first!r} and {value!r}"
                wrong.append(_Mistake(line_of((*prefix, *path), found), ".".join(map(str, path)), text))
        _merge(merged, change, _Source(prefix), origins)
    for text, table in settings:
        _merge(merged, table, _Source(setting=text), origins)
    merged["label"] = label
    default = merged.get("optimiser", {}).get("default", {}) if isinstance(merged.get("optimiser"), dict) else {}
    merged["optimiser"] = (
        {"default": default}
        | {
            name: {**default, **own} if isinstance(own, Mapping) and isinstance(default, Mapping) else own
            for name, own in (merged.get("optimiser") or {}).items()
        }
        if isinstance(merged.get("optimiser", {}), Mapping)
        else merged["optimiser"]
    )
    if wrong:
        return None, wrong
    try:
        return Plan.model_validate(merged, context={"registry": registry}), []
    except ValidationError as error:
        for each in error.errors():
            path = tuple(each["loc"])
            source = next((origins[path[:n]] for n in range(len(path), 0, -1) if path[:n] in origins), _Source())
            line = None if source.setting else line_of((*source.prefix, *path), found)
            shown = ".".join(map(str, path))
            text = _text(each, path, merged, registry)
            wrong.append(_Mistake(line, f"{shown} ({source.setting})" if source.setting else shown, text))
        return None, wrong


def _text(error: Any, path: Path, merged: Mapping[str, Any], registry: Registry) -> str:
    """What is wrong and what is possible, for one of pydantic's errors."""
    kind = error["type"]
    if kind == "extra_forbidden":
        possible = [key for key in _fields(path[:-1], merged, registry) if key != "name"]
        return f"unknown key '{path[-1]}'{did_you_mean(str(path[-1]), possible)}"
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    return f"{error['msg'][0].lower()}{error['msg'][1:]}; got {error['input']!r}"


def _fields(path: Path, merged: Mapping[str, Any], registry: Registry) -> list[str]:
    """The keys that the table at `path` of a plan may have."""
    owner: Any = Plan
    table: Any = merged
    for key in path:
        annotation: Any = Any
        metadata: tuple[Any, ...] = ()
        if isinstance(owner, type) and issubclass(owner, BaseModel):
            field = owner.model_fields[str(key)]
            annotation, metadata = field.annotation, tuple(field.metadata)
        elif typing.get_origin(owner) in (dict, tuple, list):
            inside = [a for a in typing.get_args(owner) if a not in (Ellipsis, str)]
            annotation = inside[0]
        table = table[key]
        owner = _owner(annotation, metadata, table, registry)
    return list(owner.model_fields) if isinstance(owner, type) and issubclass(owner, BaseModel) else []


def _owner(annotation: Any, metadata: tuple[Any, ...], table: Any, registry: Registry) -> Any:
    """The configuration class behind a field: the named part's where the field is a part."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return next((_owner(a, (), table, registry) for a in typing.get_args(annotation) if a is not type(None)), Any)
    if hasattr(annotation, "__metadata__"):
        metadata, annotation = (*metadata, *annotation.__metadata__), annotation.__origin__
    for each in metadata:
        if isinstance(each, WithJsonSchema) and each.json_schema is not None and "part" in each.json_schema:
            return registry.find(each.json_schema["part"], table["name"]).Config
    return annotation


def _report(file: FilePath, mistakes: list[tuple[_Mistake, list[str]]]) -> RecipeError:
    """All mistakes, a line each, in the order of the file."""
    ordered = sorted(mistakes, key=lambda m: (m[0].line is None, m[0].line or 0, m[0].path))
    shown = []
    for mistake, rows in ordered:
        where = f"{file}:{mistake.line}" if mistake.line else str(file)
        shown.append(f"{where}: {mistake.path}: {mistake.text}" + (f" [row {', '.join(rows)}]" if rows else ""))
    count = f"{len(shown)} mistakes" if len(shown) > 1 else "a mistake"
    return RecipeError(f"the recipe has {count}:\n" + "\n".join(f"  {line}" for line in shown))
