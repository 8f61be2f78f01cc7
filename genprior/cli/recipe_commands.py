"""The command `recipes`: lists the recipes that come with genprior, and copies one. Imports no torch and no plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genprior.cli.options import NewFile, ShippedName

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.callback(invoke_without_command=True)
def recipes(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False
) -> None:
    """List the recipes that come with genprior; each name can be given in place of a recipe's file.

    The columns say how many rows a recipe has, which data set they are trained on, and which changes --with applies to
    all rows (in parentheses their data set); quick takes minutes on two CPU cores.
    """
    if ctx.invoked_subcommand is not None:
        return
    from genprior.cli.print_recipes import list_recipes

    list_recipes(as_json=as_json)


@app.command()
def copy(name: ShippedName, out: NewFile = None) -> None:
    """Copy a recipe, with its comments, to a new file, to be changed; an existing file is not overwritten."""
    from genprior.cli.console import print_line
    from genprior.recipe.new_file import write_new
    from genprior.recipe.shipped import shipped_recipe

    source = shipped_recipe(name)
    file = Path(source.name) if out is None else out / source.name if out.is_dir() else out
    write_new(file, source.read_text(encoding="utf-8"))
    print_line(str(file), style="cyan")
