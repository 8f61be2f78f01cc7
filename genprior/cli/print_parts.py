"""Prints the installed parts, or the settings of one part."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Sequence
from typing import Any

from rich.table import Table as Grid
from rich.text import Text

from genprior.cli.console import console
from genprior.errors import PluginError, did_you_mean
from genprior.recipe.settings import settings_of

__all__ = ["print_part", "print_parts"]


def print_parts(registry: Any, kind: str | None, *, verbose: bool = False, disabled: Sequence[str] = ()) -> None:
    """Print the installed parts of one kind or of all, and what of the installed plugins cannot be used.

    Args:
        registry: the parts.
        kind: the kind to print; all if None.
        verbose: whether the tracebacks of plugins that could not be loaded are printed.
        disabled: what is wrong with each command of a plugin that is disabled.

    Raises:
        PluginError: the kind does not exist.
    """
    _check_kind(registry, kind)
    out = console()
    grid = Grid()
    for heading in ("kind", "name", "plugin", "what it is"):
        grid.add_column(heading, overflow="fold")
    shown = [part for part in registry.all() if kind in (None, part.kind)]
    for kind_name, group in itertools.groupby(shown, key=lambda part: part.kind):
        for place, part in enumerate(group):
            origin = registry.origin(part)
            where = f"{origin.plugin} ({origin.distribution})"
            kind_cell, name_cell = Text("" if place else kind_name, style="cyan"), Text(part.name, style="bold")
            grid.add_row(kind_cell, name_cell, where, part.summary())
        grid.add_section()
    out.print(grid)
    for broken in registry.broken:
        out.print(Text.assemble(("not loaded: ", "bold red"), f"{broken.origin}: {broken.reason}"), soft_wrap=True)
        if verbose and broken.details:
            out.print(Text(broken.details.rstrip(), style="dim"), soft_wrap=True)
    for kind_name, name in registry.clashes:
        if kind in (None, kind_name):
            out.print(Text.assemble(("not usable: ", "bold red"), registry.clash(kind_name, name)), soft_wrap=True)
    for text in disabled if kind is None else ():
        out.print(Text.assemble(("not available: ", "bold red"), text), soft_wrap=True)
    if registry.broken and not verbose:
        out.print(Text("--verbose shows the tracebacks", style="dim"))


def _check_kind(registry: Any, kind: str | None) -> None:
    from genprior.registry import KINDS

    if kind is None or kind in KINDS:
        return
    text = f"there is no kind of part '{kind}'"
    named = [part for part in registry.all() if part.name == kind]
    if not named and not difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.5):
        close = difflib.get_close_matches(kind, {part.name for part in registry.all()}, n=1, cutoff=0.8)
        named = [part for part in registry.all() if part.name in close]
    if named:
        commands = " or ".join(f"`genprior parts {part.kind} {part.name}`" for part in named)
        raise PluginError(f"{text}; did you mean {commands}? Kinds: {', '.join(sorted(KINDS))}")
    raise PluginError(f"{text}{did_you_mean(kind, KINDS)}")


def print_part(registry: Any, kind: str, name: str) -> None:
    """Print the settings of a part: types, defaults and meanings.

    Raises:
        PluginError: the kind or the name does not exist.
    """
    _check_kind(registry, kind)
    part = registry.find(kind, name)
    out = console()
    out.print(Text.assemble((f"{kind} '{name}'", "bold"), f" of {registry.origin(part)}: {part.summary()}"))
    if part.borrows:
        out.print(Text(f"borrows: {', '.join(part.borrows)}"))
    settings = settings_of(part.Config)
    if not settings:
        out.print("It has no settings.")
        return
    grid = Grid()
    for heading in ("setting", "type", "default", "meaning"):
        grid.add_column(heading, overflow="fold")
    for path, kind_of, default, meaning in settings:
        grid.add_row(Text(path, style="bold"), Text(kind_of), Text(default), Text(meaning))
    out.print(grid)
