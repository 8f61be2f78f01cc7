"""Prints the recipes that come with genprior, which are read as TOML and not resolved."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.table import Table as Grid
from rich.text import Text

from genprior.cli.console import console, print_line
from genprior.errors import RecipeError
from genprior.recipe.shipped import shipped_folder, shipped_recipes

__all__ = ["list_recipes"]


@dataclass(frozen=True)
class _Summary:
    """What a recipe is about, as its file says it."""

    name: str
    file: Path
    title: str
    rows: tuple[str, ...]
    """The labels."""
    data: str
    """The data set of the rows, if no change chooses another."""
    changes: dict[str, str | None]
    """The changes that no row has itself, for --with: each with its data set, None where it changes none."""

    def as_json(self) -> dict[str, Any]:
        """The summary for programs."""
        changes = [{"name": name, "data": data} for name, data in self.changes.items()]
        return {
            "name": self.name, "file": str(self.file), "title": self.title, "rows": list(self.rows),
            "data": self.data, "changes": changes,
        }  # fmt: skip


def list_recipes(*, as_json: bool) -> None:
    """Print all recipes, as a table or as JSON.

    Raises:
        RecipeError: this installation has none.
    """
    found = list(_summaries())
    if not found:
        raise RecipeError("this installation of genprior has no recipes; install it again: pip install genprior")
    if as_json:
        typer.echo(json.dumps([each.as_json() for each in found], indent=2))
        return
    grid = Grid()
    for heading in ("recipe", "what it trains", "rows", "data", "--with"):
        grid.add_column(heading, justify="right" if heading == "rows" else "left", overflow="fold")
    for each in found:
        changes = ", ".join(
            f"{name} ({data})" if data not in (None, name) else name for name, data in each.changes.items()
        )
        grid.add_row(Text(each.name, style="bold"), each.title, str(len(each.rows)), each.data, changes)
    console().print(grid)
    print_line(f"Files: {shipped_folder()}. `genprior recipes copy NAME` copies one, to be changed.")


def _summaries() -> Iterator[_Summary]:
    for name, file in shipped_recipes().items():
        document = tomllib.loads(file.read_text(encoding="utf-8"))
        rows = document.get("row", [{"label": "base", "changes": []}])
        of_rows = {change for row in rows for change in row["changes"]}
        changes = {
            change: _data_of(table, None)
            for change, table in document.get("change", {}).items()
            if change not in of_rows
        }
        labels = tuple(row["label"] for row in rows)
        yield _Summary(name, file, document.get("title", name), labels, _data_of(document, "") or "", changes)


def _data_of(table: Mapping[str, Any], default: str | None) -> str | None:
    """The data set that a table of a recipe names."""
    named: str | None = table.get("data", {}).get("name", default)
    return named
