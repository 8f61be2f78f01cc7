"""Finds the finished runs that a figure shows, and tells which commands train those that are missing."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from genprior.errors import RunError, did_you_mean
from genprior.parts import Figure
from genprior.recipe.labels import named_labels
from genprior.recipe.shipped import command_name, recipe_name
from genprior.runs.find import Pending, find_runs
from genprior.runs.jobs import default_folder
from genprior.runs.run import Run

__all__ = ["RunsWanted", "figure_runs", "training_command"]


class RunsWanted(NamedTuple):
    """Which runs of a figure are wanted, where it does not say so itself."""

    paths: tuple[Path, ...] = ()
    """Folders of runs, or folders above them; by default those that the figure's recipes are trained into."""
    changes: tuple[str, ...] = ()
    """The changes (`--with`) that the runs were trained with."""
    rows: tuple[str, ...] = ()
    """The labels of the rows, instead of the figure's own: each a text, or several in a text with commas between."""
    seed: int | None = None
    """The seed of the runs; by default the first that all rows have, or else the first of each row."""


class _Wanted(NamedTuple):
    """A row that a figure shows, and the recipe that trains it; None without one."""

    recipe: str | None
    row: str


def figure_runs(figure: type[Figure], wanted: RunsWanted) -> list[Run]:
    """The finished runs that a figure shows, one for each of its rows, in its order.

    Raises:
        RunError: runs are missing (the message has the commands that train them), or several have one row and seed, or
            there is no folder of a given path.
    """
    if not wanted.paths and not figure.recipes:
        raise RunError(f"figure '{figure.name}' names no recipe; give the folders of the runs that it shall show")
    notes: list[str] = []
    found = find_runs(wanted.paths or [each for each in _folders(figure, wanted) if each.is_dir()], notes)
    runs = [run for run in found if isinstance(run, Run) and wanted.seed in (None, run.seed)]
    rows = list(_rows(figure, wanted, {each.label for each in found})) or [
        _Wanted(None, label) for label in dict.fromkeys(run.label for run in runs)
    ]
    missing = [each for each in rows if each.row not in {run.label for run in runs}]
    if missing or not rows:
        raise RunError(_what_is_missing(figure, wanted, rows, missing, found, notes))
    seeds = [{run.seed for run in runs if run.label == each.row} for each in rows]
    common = set.intersection(*seeds)
    return [
        _only([run for run in runs if run.label == each.row and run.seed == min(common or own)])
        for each, own in zip(rows, seeds, strict=True)
    ]


def training_command(recipe: str, changes: Sequence[str] = (), rows: Sequence[str] = (), *others: str) -> str:
    """The command that trains rows of a recipe, as a shell reads it; all rows if none is given."""
    options = [word for change in changes for word in ("--with", change)]
    options += ["--rows", ",".join(rows)] if rows else []
    return shlex.join(["genprior", "train", command_name(recipe), *options, *others])


def _rows(figure: type[Figure], wanted: RunsWanted, found: Collection[str]) -> Iterator[_Wanted]:
    """The rows that are wanted, each with the recipe of the figure that has it.

    Args:
        figure: has rows of its own.
        wanted: its rows, which may be empty.
        found: the labels of the runs that there are; one that has commas is not taken for several.
    """
    own = {row: recipe for recipe, rows in figure.recipes for row in rows}
    for row in dict.fromkeys(named_labels(wanted.rows, {*own, *found})) or own:
        yield _Wanted(own.get(row), row)


def _folders(figure: type[Figure], wanted: RunsWanted) -> list[Path]:
    """The folders that `genprior train` writes the runs of the figure's recipes into."""
    return [default_folder(Path(each.recipe).stem, wanted.changes) for each in figure.recipes]


def _only(runs: Sequence[Run]) -> Run:
    """The one run of a row and a seed.

    Raises:
        RunError: there are several.
    """
    if len(runs) > 1:
        listed = "\n".join(f"  {run.folder}" for run in runs)
        raise RunError(
            f"there are {len(runs)} runs of row '{runs[0].label}' with seed {runs[0].seed}; give the folder of one of "
            f"them:\n{listed}"
        )
    return runs[0]


def _what_is_missing(
    figure: type[Figure],
    wanted: RunsWanted,
    rows: Sequence[_Wanted],
    missing: Sequence[_Wanted],
    found: Sequence[Run | Pending],
    notes: Sequence[str],
) -> str:
    """The message that rows of a figure have no finished run: what was found, and which commands train the rest."""
    where = ", ".join(map(str, wanted.paths or _folders(figure, wanted)))
    of_seed = "" if wanted.seed is None else f" with seed {wanted.seed}"
    lines = [
        f"figure '{figure.name}' shows {_count(len(rows))}, and {where} has no finished run{of_seed} of "
        f"{', '.join(each.row for each in missing) or 'any row'}."
    ]
    lines += [f"  found: {each.label}, seed {each.seed}: {each.folder}" for each in found if isinstance(each, Run)]
    lines += [f"  unfinished: {each.label}: {each.state}: {each.folder}" for each in found if isinstance(each, Pending)]
    lines += [f"  {note}" for note in notes]
    known = {row for each in figure.recipes for row in each.rows} | {each.label for each in found}
    lines += [
        f"  '{each.row}' is no row of this figure or of these runs{did_you_mean(each.row, known)}"
        for each in missing
        if each.row not in known
    ]
    unfinished = _unfinished(wanted, {each.row for each in missing}, found)
    lines += list(
        dict.fromkeys(
            f"  resume: {_command(each) or f'the command that trained {each.label}, given again'}"
            for each in unfinished
        )
    )
    resumed = {each.label for each in unfinished}
    untrained = [each for each in missing if each.row not in resumed]
    if untrained or not (rows or unfinished):
        lines += [f"  train: {command}" for command in _commands(figure, wanted, untrained, found)]
    if not wanted.paths:
        lines += [
            f"  or show other runs: genprior figure {figure.name} {each}" for each in _other_folders(figure, wanted)
        ]
        lines.append("  or give the folders of runs that were written elsewhere; --rows selects rows of other labels")
    else:
        if not wanted.changes:
            lines += [f"  the runs that were found were trained by: {command}" for command in _commands_of(found)]
        lines.append("  or select rows of other labels with --rows")
    return "\n".join(lines)


def _count(rows: int) -> str:
    return "all rows that are trained" if not rows else f"{rows} rows" if rows > 1 else "1 row"


def _unfinished(wanted: RunsWanted, rows: Collection[str], found: Sequence[Run | Pending]) -> list[Pending]:
    """The unfinished runs that can be resumed: those of rows, or of any row if there are none."""
    return [
        each
        for each in found
        if isinstance(each, Pending)
        and each.facts is not None
        and (each.label in rows or not rows)
        and wanted.seed in (None, each.facts["seed"])
    ]


def _commands(
    figure: type[Figure], wanted: RunsWanted, missing: Sequence[_Wanted], found: Sequence[Run | Pending]
) -> list[str]:
    """The commands that train the missing rows into the folders of their recipes: one for each recipe.

    In given folders, the rows are trained with the changes of the runs found there, if these are of the recipe.
    """
    seeds = [] if wanted.seed is None else ["--seeds", str(wanted.seed)]
    commands = []
    for recipe, of_recipe in figure.recipes:
        rows = [each.row for each in missing if each.recipe == recipe]
        if rows or not (of_recipe or missing):
            all_rows = list(of_recipe) == rows
            for changes in _changes(wanted, recipe, found):
                commands.append(training_command(recipe, changes, () if all_rows else rows, *seeds))
    return commands


def _changes(wanted: RunsWanted, recipe: str, found: Sequence[Run | Pending]) -> list[tuple[str, ...]]:
    """The changes to train missing rows of a recipe with: those given, or those of each of the runs found."""
    trained = [_trained_with(each) for each in found] if wanted.paths and not wanted.changes else []
    name = recipe_name(recipe)
    of_recipe = [each.changes for each in trained if each is not None and recipe_name(each.recipe) == name]
    return list(dict.fromkeys(of_recipe)) or [wanted.changes]


def _other_folders(figure: type[Figure], wanted: RunsWanted) -> list[Path]:
    """The folders of runs of the figure's recipes that were trained with other changes."""
    stems = dict.fromkeys(Path(each.recipe).stem for each in figure.recipes)
    folders = [folder for stem in stems for folder in sorted(Path("runs").glob(f"{stem}*"))]
    return [each for each in folders if each not in _folders(figure, wanted) and any(each.glob("*/seed-*/run.json"))]


def _commands_of(runs: Sequence[Run | Pending]) -> list[str]:
    """The commands that trained finished runs, as a shell reads them; without runs that no command trained."""
    commands = [_command(each) for each in runs if isinstance(each, Run)]
    return list(dict.fromkeys(command for command in commands if command))


def _command(run: Run | Pending) -> str:
    """The command that trained a run, as a shell reads it; empty if it was trained by other means."""
    words = _training_words(run)
    return shlex.join(["genprior", "train", *words]) if words else ""


def _training_words(run: Run | Pending) -> list[str]:
    """The words after `genprior train` of the command that trained a run; none if it was trained by other means."""
    command = run.facts.get("command", []) if run.facts is not None else []
    at = command.index("train") if "train" in command else len(command)
    # Only options of the whole program, such as --traceback, stand before it.
    return command[at + 1 :] if at and all(word.startswith("-") for word in command[1:at]) else []


class _Trained(NamedTuple):
    """The recipe and the changes that a run was trained with."""

    recipe: str
    changes: tuple[str, ...]


def _trained_with(run: Run | Pending) -> _Trained | None:
    """What a run was trained with, if its recipe is the first argument of the command that trained it."""
    words = _training_words(run)
    if not words or words[0].startswith("-"):
        return None
    changes = [after for word, after in pairwise(words) if word == "--with"]
    changes += [word.removeprefix("--with=") for word in words if word.startswith("--with=")]
    return _Trained(words[0], tuple(dict.fromkeys(changes)))
