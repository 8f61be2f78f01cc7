"""Reads recipes: base settings, named changes and rows are merged and validated.

The resolved recipe of one row, as run folders hold it, is a recipe of that row.

Mistakes are reported in two steps, all of a step at once: first those of tables, rows and names of changes, then those
of the settings of all rows.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

from genprior.errors import RecipeError, did_you_mean, meant_as_text, refuse_newer
from genprior.parts.base import CommandLineText
from genprior.recipe.changes import CHANGEABLE, wrong_changes
from genprior.recipe.labels import named_labels
from genprior.recipe.length import checked_steps, with_steps
from genprior.recipe.mistakes import Mistake, report
from genprior.recipe.new_file import write_new
from genprior.recipe.plan import Plan, upgraded
from genprior.recipe.resolved import OwnRun, is_resolved, own_run, with_usable_hooks
from genprior.recipe.row import resolve_row
from genprior.recipe.save import as_toml, lost_in_toml
from genprior.recipe.shipped import folder_in_place, no_recipe, recipe_file
from genprior.recipe.structure import excess, folded, given_seeds, wrong_label, wrong_shapes
from genprior.recipe.toml_lines import Path, line_of, lines
from genprior.registry import Registry, installed

__all__ = ["Recipe", "load_recipe", "resolve"]

_SETTABLE = ("title", *CHANGEABLE)
_MAX_BYTES = 2**21
_TOP = (*_SETTABLE, "change", "row")


@dataclass(frozen=True)
class Recipe:
    """A recipe that has been read, with resolved and valid rows."""

    name: str
    """The file name without its extension; also the name of the run folder."""
    title: str
    plans: tuple[Plan, ...]
    """The chosen rows, in the order of the file."""
    order: tuple[str, ...] = ()
    """The labels of all rows of the file, chosen or not, in order."""
    changes: tuple[str, ...] = ()
    """The named changes that were applied to every row (`--with`)."""
    home: FilePath | None = field(default=None, compare=False)
    """The folder of the table of the run whose own `recipe.toml` this is; None for other recipes."""
    file: FilePath | None = field(default=None, compare=False)
    """The file that was read."""

    def row(self, label: str) -> Plan:
        """The plan of a row.

        Raises:
            RecipeError: the row does not exist.
        """
        for plan in self.plans:
            if plan.label == label:
                return plan
        raise RecipeError(f"there is no row '{label}'{did_you_mean(label, [p.label for p in self.plans])}")

    def lasting(self, steps: int) -> Recipe:
        """The recipe with another number of steps of every row.

        Raises:
            RecipeError: the number is not a whole one, below 1, or beyond 64 bits.
        """
        steps = checked_steps(steps)
        return replace(self, plans=tuple(plan.lasting(steps) for plan in self.plans))

    def __str__(self) -> str:
        """The resolved rows as TOML, each below a comment with its label, as `genprior show --row` prints one."""
        return "\n".join(f"# row {plan.label}\n{plan.as_toml()}" for plan in self.plans)

    def as_toml(self) -> str:
        """The recipe as a file that resolves to the same rows: what rows share, and a change for each row's own.

        Raises:
            RecipeError: a setting has a value that TOML cannot hold, such as None in place of another default.
        """
        text = as_toml(self.plans)
        read = resolve(tomllib.loads(text), {}, f"recipe '{self.name}'", self.name)
        for plan, same in zip(self.plans, read.plans, strict=True):
            if lost := lost_in_toml(plan, same):
                raise RecipeError(
                    f"row '{plan.label}' cannot be written as TOML, which has no value for None: {', '.join(lost)}. "
                    "Give these settings a value"
                )
        return text

    def save(self, path: str | FilePath) -> None:
        """Write the recipe to a new .toml file, whole or not at all; `load_recipe` reads the same rows from it.

        Named changes are applied: the file has the resolved rows, with absolute paths.

        Raises:
            RecipeError: the file exists, cannot be written, or a value cannot be written as TOML.
        """
        write_new(FilePath(path), self.as_toml())


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
        path: the TOML file, or the name of a recipe that comes with genprior, such as `table3_ablation`; the
            `recipe.toml` of a run folder is a recipe of that row under that seed.
        changes: named changes to apply to every row, after the row's own (`--with`).
        settings: `PATH=VALUE` with TOML values, applied last (`--set`).
        rows: labels of the rows to keep, each a text, or several in a text with commas between; all by default.
        seeds: seeds instead of `run.seeds`.
        registry: the registry of parts; the installed parts by default.

    Raises:
        RecipeError: the recipe is invalid; the message lists all mistakes in tables and rows or, if there are none,
            all in settings, with line, path and what is possible.
        DataError: `run.epochs` is given, and the data set cannot be read.
    """
    file = recipe_file(FilePath(path))
    document, found = _read(file)
    registry = registry or installed()
    name, home = file.stem, None
    if is_resolved(document):
        own = own_run(file, document["label"])
        document = _as_recipe(document, registry, own, file.parent.resolve())
        if own is not None:
            name, home = own.home.absolute().name, own.home
            seeds = [own.seed] if seeds is None else seeds
    recipe = resolve(
        document, found, file, name, changes=changes, settings=settings, rows=rows, seeds=seeds, registry=registry,
        folder=file.parent.resolve(),
    )  # fmt: skip
    return replace(recipe, home=home, file=file)


def resolve(
    document: dict[str, Any],
    found: dict[Path, int],
    source: FilePath | str,
    name: str,
    *,
    changes: Sequence[str] = (),
    settings: Sequence[str] = (),
    rows: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    registry: Registry | None = None,
    folder: FilePath | None = None,
) -> Recipe:
    """Resolve the tables of a recipe, which are modified; see `load_recipe`.

    Args:
        document: the tables, as TOML holds them.
        found: the lines of their keys, for messages; empty without a file.
        source: the file, or what else the tables come from, for messages.
        name: the name of the recipe.
        changes: see `load_recipe`, as all that follow.
        settings: applied last.
        rows: labels.
        seeds: instead of `run.seeds`.
        registry: of parts.
        folder: where relative paths begin; by default the current directory.

    Raises:
        RecipeError: the recipe is invalid.
    """
    registry = registry or installed()
    parsed = [_setting(text) for text in settings]
    mistakes = [
        Mistake(line_of((key,), found), key, f"unknown table '{key}'{did_you_mean(key, _TOP)}")
        for key in document
        if key not in _TOP
    ]
    mistakes += wrong_shapes(document, found) + _wrong_settings(parsed)
    if mistakes:  # what follows relies on the shape
        raise report(source, [(m, []) for m in mistakes])
    if seeds is not None:
        parsed.append(("--seeds", {"run": {"seeds": given_seeds(seeds)}}))
    labels = _labels(document, found, mistakes)
    known_changes = document.get("change", {})
    for change in changes:
        if change not in known_changes:
            text = f"there is no change '{change}'{did_you_mean(change, known_changes)}"
            mistakes.append(Mistake(None, "--with", text))
    chosen = list(labels.values()) if rows is None else _chosen(rows, list(labels.values()), mistakes)
    mistakes += wrong_changes(known_changes, found, {part.name for part in registry.all()})
    if mistakes:
        raise report(source, [(m, []) for m in mistakes])
    plans: list[Plan] = []
    by_row: dict[Mistake, list[str]] = {}
    for index, label in labels.items():
        if label not in chosen:
            continue
        wanted = [*document["row"][index].get("changes", []), *changes]
        context = {"registry": registry, "written": True, "folder": folder}
        plan, wrong = resolve_row(document, found, index, label, wanted, parsed, context)
        plans += [plan] if plan is not None else []
        for mistake in wrong:
            by_row.setdefault(mistake, []).append(label)
    if by_row:
        raise report(source, list(by_row.items()))
    counted: dict[str, int] = {}
    plans = [with_steps(plan, counted) for plan in plans]
    title = plans[0].title or name
    return Recipe(name, title, tuple(plans), tuple(labels.values()), changes=tuple(dict.fromkeys(changes)))


def _as_recipe(resolved: Mapping[str, Any], registry: Registry, own: OwnRun | None, folder: FilePath) -> dict[str, Any]:
    """A resolved recipe as this version would write it, as a recipe with one row; `folder` is that of its file."""
    table = {key: value for key, value in resolved.items() if key != "format"}
    if own is not None:
        # Hooks that are gone do not stop a run, and relative paths of older versions begin at the current directory.
        table = upgraded(with_usable_hooks(table, registry), registry)
    else:
        table = upgraded(table, registry, folder)
    return {"row": [{"label": table.pop("label"), "changes": []}], **table}


def _read(file: FilePath) -> tuple[dict[str, Any], dict[Path, int]]:
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_BYTES + 1)  # not more, because a device has no end
        if len(content) > _MAX_BYTES:
            raise RecipeError(f"the recipe {file} has more than {_MAX_BYTES:,} bytes; is it another file?")
        # Windows' editors write a byte order mark, and \r\n.
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
        document = tomllib.loads(text)
        if wrong := excess(document):
            raise RecipeError(f"{file} {wrong}")
        refuse_newer(document if is_resolved(document) else None, file)
        return document, lines(text)
    except FileNotFoundError:
        raise no_recipe(file) from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"the recipe {file} is not UTF-8 text ({error}); save it as UTF-8") from error
    except IsADirectoryError:
        raise folder_in_place(file) from None
    except OSError as error:
        raise RecipeError(f"the recipe {file} cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a ValueError
        raise RecipeError(f"{file} is not valid TOML: {error}") from error


def _labels(document: dict[str, Any], found: dict[Path, int], mistakes: list[Mistake]) -> dict[int, str]:
    """The labels of the rows by index; a recipe without rows has one row without changes."""
    rows = document.setdefault("row", [{"label": "base", "changes": []}])
    labels: dict[int, str] = {}
    taken: dict[str, str] = {}
    for index, row in enumerate(rows):
        label = row.get("label")
        if text := wrong_label(label, taken):
            mistakes.append(Mistake(line_of(("row", index, "label"), found), f"row.{index}.label", text))
        else:
            labels[index] = taken[folded(label)] = label
        for key in row:
            if key not in ("label", "changes"):
                text = f"unknown key '{key}' of a row{did_you_mean(key, ('label', 'changes'))}"
                mistakes.append(Mistake(line_of(("row", index, key), found), f"row.{index}.{key}", text))
        for name in row.get("changes", []):
            if name not in document.get("change", {}):
                text = f"there is no change '{name}'{did_you_mean(name, document.get('change', {}))}"
                mistakes.append(Mistake(line_of(("row", index, "changes"), found), f"row.{index}.changes", text))
    return labels


def _chosen(rows: Sequence[str], labels: Sequence[str], mistakes: list[Mistake]) -> list[str]:
    """The labels that `rows` names; one that there is not is added to `mistakes`."""
    chosen = named_labels(rows, labels)
    wrong = [f"there is no row '{label}'{did_you_mean(label, labels)}" for label in chosen if label not in labels]
    if not chosen:
        wrong = [f"no row is named{did_you_mean('', labels)}"]
    mistakes += [Mistake(None, "--rows", text) for text in dict.fromkeys(wrong)]
    return chosen


def _setting(text: str) -> tuple[str, dict[str, Any]]:
    path, equals, value = text.partition("=")
    try:
        if not equals or not path.strip():
            raise ValueError
        table = tomllib.loads(f"{path} = {value}")
        if not table or excess(table):  # a comment, or no setting
            raise ValueError
        return f"--set {text}", _of_command_line(table)
    except (ValueError, RecursionError):
        raise RecipeError(
            f"--set {text}: needs PATH=VALUE with a TOML value, such as run.steps=800, run.seeds=[0,1] "
            "or 'data.name=\"mnist\"' (strings need double quotes, so put single quotes around the whole)"
            f"{meant_as_text(text)}"
        ) from None


def _of_command_line(value: Any) -> Any:
    """A value with its texts marked as given on the command line."""
    if isinstance(value, dict):
        return {key: _of_command_line(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_of_command_line(each) for each in value]
    return CommandLineText(value) if isinstance(value, str) else value


def _wrong_settings(settings: Sequence[tuple[str, dict[str, Any]]]) -> list[Mistake]:
    """The keys that settings set but cannot set, and values of another shape than their keys have."""
    mistakes = []
    for text, table in settings:
        for key in table:
            if key not in _SETTABLE:
                wrong = f"--set cannot set '{key}'{did_you_mean(key, _SETTABLE)}"
                mistakes.append(Mistake(None, f"{key} ({text})", wrong))
        shapes = wrong_shapes({key: value for key, value in table.items() if key in _SETTABLE}, {})
        mistakes += [Mistake(None, f"{each.path} ({text})", each.text) for each in shapes]
    return mistakes
