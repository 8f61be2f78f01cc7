"""The shape of a recipe: which values are tables, lists of tables, texts and lists of texts."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any

from genprior.errors import RecipeError, shown, whole_number
from genprior.recipe.mistakes import Mistake
from genprior.recipe.toml_lines import Path, line_of

__all__ = [
    "BEYOND_TOML", "MAX_DEPTH", "TAKEN", "excess", "fits_toml", "folded", "given_seeds", "wrong_label", "wrong_shapes",
]  # fmt: skip

MAX_DEPTH = 32
"""Levels of tables and lists in a recipe; the deepest setting of the standard parts has 7."""

BEYOND_TOML = "an integer beyond 64 bits, the limit of TOML"
"""What an integer that `fits_toml` denies is called in messages."""

TAKEN = (
    "priors.json", "priors.md", "rows.png", "table.csv", "table.html", "table.json", "table.md", "table.tex",
)  # fmt: skip
"""The files of a table and of a ranking of priors, which stand beside the folders of the rows."""

_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in "123456789¹²³")}
"""Names that Windows takes for devices, with any ending."""

_TABLES = ("run", "data", "optimiser", "model")
_MEANT = {
    "run": "[run] with the settings of training below it",
    "data": '[data] with name = "..." and its settings below it',
    "optimiser": "[optimiser.default] with the settings of the optimiser below it",
    "model": '[model] with name = "..." and its parts below it',
}


def excess(table: Mapping[str, Any]) -> str:
    """What no recipe holds: more than `MAX_DEPTH` levels of tables and lists, or integers beyond the 64 bits of TOML.

    Returns:
        What is wrong, for a message; empty if nothing is.
    """
    level: list[Any] = [table]
    for _ in range(MAX_DEPTH):
        values = [value for each in level for value in (each.values() if isinstance(each, Mapping) else each)]
        if any(isinstance(value, int) and not fits_toml(value) for value in values):
            return f"holds {BEYOND_TOML}"
        level = [value for value in values if isinstance(value, Mapping | list)]
    return f"nests tables or lists in more than {MAX_DEPTH} levels; no setting is so deep" if level else ""


def fits_toml(number: int) -> bool:
    """Whether TOML can hold the integer: -2^63 <= number < 2^63."""
    return -(2**63) <= number < 2**63


def wrong_shapes(document: Mapping[str, Any], found: dict[Path, int]) -> list[Mistake]:
    """The mistakes in the shape of a recipe, each with the form that is needed; keys are checked elsewhere.

    Args:
        document: the recipe as TOML holds it.
        found: the lines of its keys, from `lines`.
    """
    wrong = [*_of_settings(document, ()), *_of_changes(document.get("change", {})), *_of_rows(document.get("row"))]
    if not isinstance(document.get("title", ""), str):
        wrong.append((("title",), _needs("the title is a text", 'title = "..."', document["title"])))
    return [Mistake(line_of(path, found), ".".join(map(str, path)), text) for path, text in wrong]


_Wrong = Iterable[tuple[Path, str]]


def _needs(what: str, form: str, value: Any) -> str:
    return f"{what}: write {form}; this is {_kind(value)}"


def _kind(value: Any) -> str:
    """A value of TOML in words."""
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return f"a list of {len(value)} values" if value else "an empty list"
    shown = repr(value)
    return f"the text {shown}" if isinstance(value, str) else f"{shown if len(shown) < 60 else shown[:60] + '...'}"


def _of_settings(table: Mapping[str, Any], at: Path) -> _Wrong:
    """The shapes of the keys that the base of a recipe, a change, and a table of `when` share."""
    header = ".".join(map(str, at))
    for key in _TABLES:
        value = table.get(key, {})
        if not isinstance(value, Mapping):
            form = _MEANT[key].replace("[", f"[{header}.", 1) if header else _MEANT[key]
            yield (*at, key), _needs(f"'{key}' is a table", form, value)
    scores = table.get("scores", [])
    if not isinstance(scores, list) or not all(isinstance(each, Mapping) for each in scores):
        yield (*at, "scores"), _needs("'scores' is a list of tables", 'scores = [{ name = "..." }]', scores)
    optimiser = table.get("optimiser", {})
    for module, own in optimiser.items() if isinstance(optimiser, Mapping) else ():
        if not isinstance(own, Mapping):
            tables = ".".join(map(str, (*at, "optimiser")))
            form = f"[{tables}.default] with the settings of the optimiser below it"
            if module != "default":
                form = f"[{tables}.default] with '{module}' below it, or [{tables}.{module}] if it is a module"
            what = "'optimiser' holds a table for each module, and 'default' for all others"
            yield (*at, "optimiser", module), _needs(what, form, own)


def _of_changes(changes: Any) -> _Wrong:
    if not isinstance(changes, Mapping):
        yield ("change",), _needs("'change' holds a table for each named change", "[change.NAME.run]", changes)
        return
    for name, change in changes.items():
        at: Path = ("change", name)
        if not isinstance(change, Mapping):
            form = f"[change.{name}.run] with the settings that it changes below it"
            yield at, _needs("a change is a table of tables", form, change)
            continue
        yield from _of_settings(change, at)
        when = change.get("when", {})
        if not isinstance(when, Mapping):
            yield (*at, "when"), _needs("'when' holds a table for each part", f"[change.{name}.when.PART.model]", when)
            continue
        for part, inner in when.items():
            if isinstance(inner, Mapping):
                yield from _of_settings(inner, (*at, "when", part))
            else:
                form = f"[change.{name}.when.{part}.model]"
                yield (*at, "when", part), _needs("what 'when' holds for a part is a table of tables", form, inner)


def _of_rows(rows: Any) -> _Wrong:
    if rows is None:
        return
    form = '[[row]] with label = "..." and changes = ["..."] below it'
    if isinstance(rows, Mapping):
        yield ("row",), "a recipe has a list of rows: write [[row]] with two brackets, for each row; this is a table"
        return
    if not isinstance(rows, list):
        yield ("row",), _needs("a recipe has a list of rows", form, rows)
        return
    if not rows:
        yield ("row",), f"the list of rows is empty, so nothing would be trained: write {form}, or leave 'row' out"
    for index, row in enumerate(rows):
        at: Path = ("row", index)
        if not isinstance(row, Mapping):
            yield at, _needs("a row is a table", form, row)
            continue
        changes = row.get("changes", [])
        if not isinstance(changes, list) or not all(isinstance(each, str) for each in changes):
            named = f'["{changes}"]' if isinstance(changes, str) else '["...", "..."]'
            what = "'changes' is a list of the names of changes"
            yield (*at, "changes"), _needs(what, f"changes = {named}", changes)


def wrong_label(label: Any, others: Mapping[str, str]) -> str | None:
    """What is wrong with the label of a row, which names its folder; None if nothing is.

    Args:
        label: the label.
        others: the labels of the rows before it, by their `folded` names.
    """
    if not isinstance(label, str) or not label.strip() or label.startswith("."):
        return f"a row needs a label that can name a folder; this one has {label!r}"
    if "/" in label or not label.isprintable() or FilePath(label).name != label:
        return f"a row needs a label that can name a folder, without '/' and line breaks; this one has {label!r}"
    # A recipe is moved between machines, and names no other folder on any of them.
    if "\\" in label or label.endswith((".", " ")) or folded(label).partition(".")[0].rstrip() in _DEVICES:
        return (
            f"a row needs a label that names the same folder on every system, without '\\' and without a dot or a "
            f"space at its end, and that is no device of Windows; this one has {label!r}"
        )
    if len(label.encode()) > 255:
        return f"a row needs a label that can name a folder, of at most 255 bytes; this one has {len(label.encode())}"
    if folded(label) in TAKEN:
        return f"'{label}' is a file of the table, beside the folders of the rows; give the row another label"
    other = others.get(folded(label))
    if other == label:
        return f"two rows have the label '{label}'"
    if other is not None:
        return (
            f"the labels '{other}' and '{label}' name one folder where file names ignore case; "
            "give one of the rows another label"
        )
    return None


def folded(label: str) -> str:
    """The name that a file system sees which ignores case and the composition of accents."""
    return unicodedata.normalize("NFC", label).casefold()


def given_seeds(seeds: Any) -> list[int]:
    """Seeds that Python passes, as whole numbers of at least 0.

    Raises:
        RecipeError: they are no sequence, such as a single number, or one is no whole number.
    """
    if isinstance(seeds, str | bytes | Mapping) or not isinstance(seeds, Iterable):
        raise RecipeError(
            f"seeds = {shown(seeds)} is no sequence of seeds; give a list of whole numbers, such as [0, 1]"
        )
    try:
        listed = list(seeds)
    except TypeError:  # an array or tensor of one number, without dimensions
        raise RecipeError(f"seeds = {shown(seeds)} is a single number; give a list of it") from None
    return [whole_number(seed, "a seed", RecipeError) for seed in listed]
