"""Prints the resolved rows of a recipe: the first one whole, and of each other one what differs from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tomlkit

from genprior.cli.console import print_toml
from genprior.recipe.changes import replaces
from genprior.recipe.plan import Plan

__all__ = ["differences", "print_rows"]

_WIDTH = 80
"""Columns of a line with the value of the first row beside it; a longer one has that value above it."""


def print_rows(plans: Sequence[Plan]) -> None:
    """Print the first plan as TOML, then for each other one the lines of `differences`."""
    first, *others = plans
    print_toml(first.as_toml(), f"row {first.label}")
    for plan in others:
        lines = differences(first, plan)
        text = f"row {plan.label}: {'differs' if lines else 'does not differ'} from row {first.label}"
        print_toml("".join(f"{line}\n" for line in lines), f"{text} in" if lines else text)


def differences(first: Plan, other: Plan) -> list[str]:
    """The settings of `other` that `first` does not have, as lines of TOML with the value of `first` in a comment.

    If `other` has another part in a place, the settings of the old part are not listed.
    """
    return list(_lines(first.as_table(), {**other.as_table(), "label": first.label}, (), first.label))


def _lines(old: Mapping[str, Any], new: Mapping[str, Any], at: tuple[str, ...], label: str) -> Iterable[str]:
    replaced = replaces(new, old)
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and value:
            yield from _lines(before if isinstance(before, Mapping) else {}, value, (*at, key), label)
        elif key not in old or (value != before and "\n" in _value(before)):  # the first row shows the old list
            yield _setting((*at, key), value)
        elif value != before:
            line, was = _setting((*at, key), value), f"# {label}: {_value(before)}"
            above = "\n" in line or len(line) + len(was) + 2 > _WIDTH
            yield f"{was}\n{line}" if above else f"{line}  {was}"
    for key in old if not replaced else ():
        if key not in new:
            yield f"# without {_key((*at, key))}, which {label} has"


def _setting(path: tuple[str, ...], value: Any) -> str:
    return f"{_key(path)} = {_value(value)}"


def _key(path: tuple[str, ...]) -> str:
    return tomlkit.key(list(path)).as_string()


def _value(value: Any) -> str:
    """A value of TOML in a line; a list of tables has a line for each."""
    if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        return "[\n" + "".join(f"  {_value(each)},\n" for each in value) + "]"
    if isinstance(value, Mapping):
        inside = ", ".join(_setting((key,), each) for key, each in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return str(tomlkit.item(value).as_string())
