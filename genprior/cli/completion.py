"""Completion of arguments in a shell: recipes, rows, changes, parts and runs. Imports no torch and no plugin.

`genprior --install-completion` installs it. A shell runs `genprior` with `_GENPRIOR_COMPLETE` in the environment at
every press of the key, so each function reads only the files that it needs; what cannot be read is not offered.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from textwrap import shorten
from typing import Any

import typer

from genprior.cli.part_names import part_names, recipes_of_figure
from genprior.recipe.labels import named_labels
from genprior.recipe.shipped import command_name, default_recipe, recipe_file, shipped_recipes
from genprior.runs.exported_files import row_folder

__all__ = [
    "LAUNCHERS", "PRIORS", "changes", "completing", "kinds", "launchers", "new_kinds", "parts", "parts_of", "recipes",
    "recipes_and_runs", "row", "rows", "run_seeds", "runs", "shipped", "silent",
]  # fmt: skip

PRIORS = "priors"
"""The name of the recipe that `genprior priors` ranks where none is given."""
LAUNCHERS = "genprior.launchers"
"""The entry-point group of launchers."""
_VARIABLE = "_GENPRIOR_COMPLETE"
_RECIPE = re.compile(r"^\s*(\[+\s*)?(run|data|model|optimiser|change|row|scores)\b", re.MULTILINE)
_MOST = 1000
"""Files that are looked at."""
_LARGEST = 2**21
"""Bytes of a recipe."""

Words = Iterable[str | tuple[str, str]]


def completing() -> bool:
    """Whether a shell asks for completion in this call."""
    return os.environ.get(_VARIABLE, "").startswith("complete_")


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Print nothing to stderr inside the block, and end the process without a message if an exception is raised."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except Exception:
        raise SystemExit(0) from None


def _offered(complete: Callable[[Any, str], Words]) -> Callable[..., list[Any]]:
    """A completion function for typer that offers nothing where `complete` raises an exception."""

    @functools.wraps(complete)
    def words(ctx: typer.Context, incomplete: str) -> list[Any]:
        try:
            found = [(each, "") if isinstance(each, str) else each for each in complete(ctx, incomplete)]
        except Exception:  # damaged files, folders that cannot be read
            return []
        # A longer text is broken into lines, and a shell reads one word a line.
        return [(_escaped(word), shorten(told, 60)) for word, told in dict(found).items() if word.isprintable()]

    return words


def _escaped(word: str) -> str:
    """A word as bash needs it, which inserts it unchanged; other shells escape it themselves."""
    typed = (os.environ.get("COMP_WORDS", "").split("\n") or [""])[-1]
    if os.environ.get(_VARIABLE) != "complete_bash" or "'" in typed or '"' in typed:
        return word
    return re.sub(r"([^\w@%+=:,./-])", r"\\\1", word)


# ---------------------------------------------------------------------------------------------------------------------
# Parts
# ---------------------------------------------------------------------------------------------------------------------


@_offered
def kinds(ctx: typer.Context, incomplete: str) -> Words:
    """The kinds of parts."""
    return part_names()


@_offered
def new_kinds(ctx: typer.Context, incomplete: str) -> Words:
    """The kinds of parts for which a package can be written."""
    from genprior.cli.scaffold import new_kinds as kinds_with_templates

    return kinds_with_templates()


@_offered
def parts(ctx: typer.Context, incomplete: str) -> Words:
    """The parts of the kind that the command line names."""
    return part_names().get(str(ctx.params.get("kind")), {}).items()


def parts_of(kind: str) -> Callable[..., list[Any]]:
    """A completion function for the parts of a kind."""

    @_offered
    def of_kind(ctx: typer.Context, incomplete: str) -> Words:
        return part_names().get(kind, {}).items()

    return of_kind


# ---------------------------------------------------------------------------------------------------------------------
# Recipes and runs
# ---------------------------------------------------------------------------------------------------------------------


@_offered
def launchers(ctx: typer.Context, incomplete: str) -> Words:
    """The names of installed launchers, from the metadata of packages."""
    return sorted(each.name for each in metadata.entry_points(group=LAUNCHERS) if each.name.startswith(incomplete))


@_offered
def recipes(ctx: typer.Context, incomplete: str) -> Words:
    """The recipes in the current folder and in `recipes`, or in the folder that is being typed, and genprior's own."""
    return _recipes(incomplete)


@_offered
def shipped(ctx: typer.Context, incomplete: str) -> Words:
    """The names of the recipes that come with genprior."""
    return _shipped(incomplete)


@_offered
def runs(ctx: typer.Context, incomplete: str) -> Words:
    """The folders of tables in `runs`; of the folder that is being typed, those of its tables, rows and runs."""
    return _runs(incomplete)


@_offered
def recipes_and_runs(ctx: typer.Context, incomplete: str) -> Words:
    """Recipes, and folders of runs."""
    return [*_recipes(incomplete), *_runs(incomplete)]


@_offered
def changes(ctx: typer.Context, incomplete: str) -> Words:
    """The changes of the recipes that the command line names, except those that it applies already."""
    applied = ctx.params.get("changes") or ()
    return [name for document in _documents(ctx) for name in _table(document.get("change")) if name not in applied]


@_offered
def row(ctx: typer.Context, incomplete: str) -> Words:
    """A row of the recipe, or of the runs, that the command line names."""
    return _labels(ctx)


@_offered
def rows(ctx: typer.Context, incomplete: str) -> Words:
    """Rows with commas between."""
    labels = _labels(ctx)
    # A comma may end a label, or be in one: what is typed after any of them may be the beginning of the next.
    ends = [0, *(place + 1 for place, character in enumerate(incomplete) if character == ",")]
    found = [
        incomplete[:end] + label
        for end in ends
        for chosen in [named_labels([incomplete[:end]], labels)]
        for label in labels
        if label not in chosen and set(chosen) <= set(labels)
    ]
    return [each for each in found if each.startswith(incomplete)]


@_offered
def run_seeds(ctx: typer.Context, incomplete: str) -> Words:
    """The seeds of the runs that the command line names, or of those in `runs`."""
    folders = [path for path in _paths(ctx) if path.is_dir()] or [Path("runs")]
    found = {each.name.removeprefix("seed-") for path in folders for each in _run_folders(path)}
    return sorted((each for each in found if each.isdigit()), key=int)


def _recipes(incomplete: str) -> list[str]:
    folder, slash, _ = incomplete.rpartition("/")
    here = Path(folder + slash)
    found = [*here.glob("*.toml"), *(here.glob("*/*.toml") if slash else Path("recipes").rglob("*.toml"))][:_MOST]
    named = (f"{folder}{slash}{path.relative_to(here).as_posix()}" for path in sorted(found) if _is_recipe(path))
    local = [each for each in named if each.startswith(incomplete)]
    # Of a recipe that is in the current folder too, the path is enough.
    paths = {file for name in shipped_recipes() for file in (f"{name}.toml", f"recipes/{name}.toml") if file in local}
    return [*local, *(name for name in _shipped(incomplete) if not {f"{name}.toml", f"recipes/{name}.toml"} & paths)]


def _shipped(incomplete: str) -> list[str]:
    return [name for name in shipped_recipes() if name.startswith(incomplete)]


def _is_recipe(path: Path) -> bool:
    try:
        # Reading a pipe would wait for its writer.
        return (
            path.is_file()
            and path.stat().st_size < _LARGEST
            and bool(_RECIPE.search(path.read_text(encoding="utf-8-sig")))
        )
    except (OSError, ValueError):
        return False


def _runs(incomplete: str) -> list[str]:
    folder, slash, _ = incomplete.rpartition("/")
    root = Path(folder + slash) if slash else Path("runs")
    shown = f"{folder}{slash}" if slash else "runs/"
    found = set()
    for run in _run_folders(root):
        inside = run.relative_to(root).parts
        found |= {shown + "/".join(inside[:depth]) for depth in range(1, len(inside) + 1 if slash else 2)}
    return sorted(found)


def _run_folders(root: Path) -> list[Path]:
    """Folders of runs below a folder: of a row, of a table, or of several tables."""
    patterns = ("*/run.json", "*/*/run.json", "*/*/*/run.json")
    return [path.parent for pattern in patterns for path in root.glob(pattern)][:_MOST]


def _labels(ctx: Any) -> list[str]:
    """The labels of the rows of the recipes, and the names of the folders of rows, that the command line names."""
    labels = [
        str(each.get("label", ""))
        for document in _documents(ctx)
        for each in document.get("row", [{"label": "base"}])
        if isinstance(each, dict)
    ]
    for path in _paths(ctx):
        labels += sorted(row_folder(each).name for each in _run_folders(path)) if path.is_dir() else []
    return [label for label in dict.fromkeys(labels) if label]


def _documents(ctx: Any) -> Iterator[dict[str, Any]]:
    """The recipes that the command line names, and those of its figure."""
    figures = (each for each in (ctx.params.get("name"), *ctx.args) if isinstance(each, str))
    of_figure = (Path(command_name(recipe)) for figure in figures for recipe in recipes_of_figure(figure))
    for given in (*_paths(ctx), *of_figure):
        with contextlib.suppress(OSError, ValueError):
            path = recipe_file(given)
            if path.is_file() and path.stat().st_size < _LARGEST:
                yield tomllib.loads(path.read_text(encoding="utf-8-sig"))


def _paths(ctx: Any) -> list[Path]:
    """The values of the arguments that are paths."""
    # Arguments are in `args` while the value of an option is being typed.
    given = [*(ctx.params.get(name) for name in ("recipe", "path", "paths", "run")), ctx.args]
    values = [each for value in given for each in (value if isinstance(value, list | tuple) else [value])]
    paths = [Path(each) for each in values if isinstance(each, str | Path)]
    return [default_recipe(PRIORS)] if not paths and ctx.info_name == "priors" else paths


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
