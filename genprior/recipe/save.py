"""Writes resolved rows as a recipe that resolves to the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tomlkit

from genprior.recipe.changes import CHANGEABLE
from genprior.recipe.plan import Plan

__all__ = ["as_toml", "lost_in_toml"]


def as_toml(plans: Sequence[Plan]) -> str:
    """A recipe of these rows: the tables that all of them share, and one change for each row with its other tables."""
    tables = [plan.as_table() for plan in plans]
    base: dict[str, Any] = {"title": plans[0].title} if plans[0].title else {}
    own: list[dict[str, Any]] = [{} for _ in plans]
    for key in CHANGEABLE:
        each = [table[key] for table in tables]
        if key == "run":  # its keys have no names of parts, by which one table replaces another
            base[key] = {name: value for name, value in each[0].items() if all(_has(it, name, value) for it in each)}
            rest = [{name: value for name, value in it.items() if name not in base[key]} for it in each]
            for mine, table in zip(own, rest, strict=True):
                mine |= {key: table} if table else {}
        elif all(it == each[0] for it in each):
            base[key] = each[0]
        else:
            for mine, table in zip(own, each, strict=True):
                mine[key] = table
    changes = {plan.label: mine for plan, mine in zip(plans, own, strict=True) if mine}
    rows = [
        {"label": plan.label, "changes": [plan.label] if mine else []} for plan, mine in zip(plans, own, strict=True)
    ]
    document = {**base, **({"change": changes} if changes else {}), "row": rows}
    return tomlkit.dumps(document)


def _has(table: Mapping[str, Any], name: str, value: Any) -> bool:
    return name in table and bool(table[name] == value)


def lost_in_toml(plan: Plan, read: Plan) -> list[str]:
    """The settings in which a row differs from the row that was read from its TOML."""
    mine, theirs = (_leaves(each.model_dump(mode="json")) for each in (plan, read))
    return [path for path in sorted(mine | theirs) if (path, mine.get(path)) != (path, theirs.get(path))]


def _leaves(value: Any, at: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping | list) and value:
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        return {path: leaf for key, each in pairs for path, leaf in _leaves(each, f"{at}.{key}".lstrip(".")).items()}
    return {at: value}
