"""Named changes: the keys that they may set, the changes that apply to a row, and merging."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genprior.errors import did_you_mean
from genprior.recipe.mistakes import Mistake
from genprior.recipe.toml_lines import Path, line_of

__all__ = ["CHANGEABLE", "Source", "changes_of", "leaves", "merge", "replaces", "wrong_changes"]

CHANGEABLE = ("run", "data", "scores", "optimiser", "model")
"""The tables of a recipe that a change may set."""


@dataclass(frozen=True)
class Source:
    """The origin of a value: a path prefix in the file, or a setting of the command line."""

    prefix: Path = ()
    setting: str = ""


def merge(
    base: dict[str, Any], change: Mapping[str, Any], source: Source, origins: dict[Path, Source], at: Path = ()
) -> None:
    """Apply a change in place: a table that names another part replaces the old table; otherwise keys are merged."""
    for key, value in change.items():
        here = (*at, key)
        old = base.get(key)
        if isinstance(value, Mapping) and isinstance(old, dict) and not replaces(value, old):
            merge(old, value, source, origins, here)
        else:
            if isinstance(old, dict):  # only tables have origins below them; the rest is quick for any number of keys
                for stale in [p for p in origins if p[: len(here)] == here]:
                    del origins[stale]
            base[key] = copy.deepcopy(value)
            origins[here] = source


def replaces(value: Any, old: Any) -> bool:
    """Whether a table names another part than the old table."""
    return (
        isinstance(value, Mapping)
        and isinstance(old, Mapping)
        and value.get("name", old.get("name")) != old.get("name")
    )


def leaves(table: Mapping[str, Any], at: Path = ()) -> Iterable[tuple[Path, Any]]:
    """The path and value of each key whose value is not a table."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*at, key))
        else:
            yield (*at, key), value


def wrong_changes(changes: Mapping[str, Any], found: dict[Path, int], parts: set[str]) -> list[Mistake]:
    """The keys that changes, which have the right shape, set but cannot set; `when` holds tables by names of parts."""
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
                mistakes.append(Mistake(line, ".".join(where), text))
    for prefix, table in tables:
        for key in table:
            if key not in CHANGEABLE:
                possible = CHANGEABLE if "when" in prefix else (*CHANGEABLE, "when")
                text = f"a change cannot set '{key}'{did_you_mean(key, possible)}"
                mistakes.append(Mistake(line_of((*prefix, key), found), ".".join(map(str, (*prefix, key))), text))
    return mistakes


def changes_of(
    document: Mapping[str, Any], names: Sequence[str], merged: Mapping[str, Any]
) -> Iterable[tuple[str, Path, Mapping[str, Any]]]:
    """The changes of a row with their paths in the file; the `when` tables that apply follow the change itself.

    `when.NAME` applies to rows whose model has that name, or has a part of that name. `merged` is the row as merged
    so far, so a change can choose a part, and `when` tables of later changes refer to the new part.
    """
    for name in dict.fromkeys(names):
        change = document["change"][name]
        yield name, ("change", name), {key: value for key, value in change.items() if key != "when"}
        model = merged.get("model")
        tables = [model, *model.values()] if isinstance(model, Mapping) else []
        names_of_parts = [table.get("name") for table in tables if isinstance(table, Mapping)]
        for part in change.get("when", {}):
            if part in names_of_parts:
                yield name, ("change", name, "when", part), change["when"][part]
