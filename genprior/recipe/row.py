"""Resolves one row of a recipe: the base, its changes and the settings, merged and validated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from genprior.recipe.changes import CHANGEABLE, Source, changes_of, leaves, merge, replaces
from genprior.recipe.length import UNITS, replace_length
from genprior.recipe.mistakes import Mistake, explained
from genprior.recipe.optimiser import resolved
from genprior.recipe.plan import Plan
from genprior.recipe.toml_lines import Path, line_of

__all__ = ["resolve_row"]


def resolve_row(
    document: dict[str, Any],
    found: dict[Path, int],
    index: int,
    label: str,
    changes: Sequence[str],
    settings: Sequence[tuple[str, dict[str, Any]]],
    context: Mapping[str, Any],
) -> tuple[Plan | None, list[Mistake]]:
    """The validated plan of one row, or its mistakes."""
    merged: dict[str, Any] = {}
    origins: dict[Path, Source] = {}
    base = {key: document[key] for key in ("title", *CHANGEABLE) if key in document}
    merge(merged, base, Source(), origins)
    wrong: list[Mistake] = []
    set_by: dict[Path, tuple[str, Any]] = {}
    for name, prefix, change in changes_of(document, changes, merged):
        replaced = {key for key, value in change.items() if replaces(value, merged.get(key))}
        for path, value in leaves(change):
            if path[0] in replaced:
                undone = next(
                    (by for set_path, (by, _) in set_by.items() if set_path[0] == path[0] and by != name), None
                )
                if undone and path[1:] == ("name",):
                    text = (
                        f"change '{name}' chooses another {path[0]}, '{value}', and would discard what '{undone}' sets "
                        f"for the previous one; put '{name}' first among the row's changes"
                    )
                    wrong.append(Mistake(line_of((*prefix, *path), found), ".".join(map(str, path)), text))
                # Settings of another model or data set are the base of later changes and cannot conflict with them.
                if path[1:] != ("name",):
                    continue
            unit = next((unit for unit in UNITS if path in UNITS and unit != path and unit in set_by), None)
            if unit is not None and set_by[unit][0] != name:
                both = f"{'.'.join(unit)} and {'.'.join(map(str, path))}"
                text = f"changes '{set_by[unit][0]}' and '{name}' of one row set {both}, of which a row has one"
                wrong.append(Mistake(line_of((*prefix, *path), found), ".".join(map(str, path)), text))
            other, first = set_by.setdefault(path, (name, value))
            if first != value and other != name:
                text = f"changes '{other}' and '{name}' of one row set different values: {first!r} and {value!r}"
                wrong.append(Mistake(line_of((*prefix, *path), found), ".".join(map(str, path)), text))
        replace_length(merged, change)
        merge(merged, change, Source(prefix), origins)
    for text, table in settings:
        replace_length(merged, table)
        merge(merged, table, Source(setting=text), origins)
    merged["label"] = label
    merged["optimiser"] = resolved(merged.get("optimiser", {}), context["registry"])
    if wrong:
        return None, wrong
    try:
        return Plan.model_validate(merged, context=context), []
    except ValidationError as error:
        for path, text in explained(error, merged, context["registry"]):
            source = next((origins[path[:n]] for n in range(len(path), 0, -1) if path[:n] in origins), Source())
            line = None if source.setting else line_of((*source.prefix, *path), found)
            shown = ".".join(map(str, path))
            wrong.append(Mistake(line, f"{shown} ({source.setting})" if source.setting else shown, text))
        return None, wrong
