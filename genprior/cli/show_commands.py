"""Commands that show recipes, runs and parts. Each imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer
from typer.core import TyperGroup

from genprior.cli.options import Against, Kind, PartName, RowOfRecipe, Set, Shown, With
from genprior.cli.plugin_commands import disabled_commands
from genprior.errors import RunError, visible

__all__ = ["parts", "schema", "show"]


def show(
    path: Shown,
    row: RowOfRecipe = None,
    changes: With = None,
    settings: Set = None,
    against: Against = None,
) -> None:
    """Show the resolved rows of a recipe, the state and scores of a run, or a table.

    The first row of a recipe is shown whole, and of each other row what differs from it; --row shows any row whole.
    """
    from genprior.cli import console
    from genprior.cli.print_recipe import print_rows
    from genprior.cli.print_run import print_run, print_unread
    from genprior.recipe.load import load_recipe
    from genprior.recipe.shipped import is_recipe
    from genprior.runs.find import nothing_at
    from genprior.runs.folder import RunFolder
    from genprior.runs.hub import local_folder
    from genprior.runs.run import load_run
    from genprior.tables.gather import table_below

    path = local_folder(path)
    if against is not None and (RunFolder(path).exists or not path.is_dir()):
        raise RunError(f"--against {against}: {path} is no table; give the folder of several rows, or leave it out")
    unused = [
        *([f"--row {row}"] if row is not None else []),
        *(f"--with {change}" for change in changes or ()),
        *(f"--set {setting}" for setting in settings or ()),
    ]
    if unused and path.is_dir():
        raise RunError(f"{', '.join(unused)}: {path} is no recipe; give a recipe or its name, or leave this out")
    if RunFolder(path).exists:
        try:
            run = load_run(path)
        except RunError as error:  # of a part that is not installed, or a damaged folder, which raises it again
            print_unread(path, error)
        else:
            print_run(run)
    elif path.is_dir():
        table = table_below([path]).with_differences_to(against)
        console.print_table(table)
        console.refuse_unread(table)
    elif not is_recipe(path) and not path.exists():
        raise nothing_at(path)
    else:
        recipe = load_recipe(path, changes=changes or (), settings=settings or (), rows=None if row is None else [row])
        print_rows(recipe.plans)


def parts(
    ctx: typer.Context,
    kind: Kind = None,
    name: PartName = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show tracebacks of unloadable plugins.")] = False,
) -> None:
    """List the installed parts and their plugins, or the settings of one part."""
    from genprior.cli import print_parts
    from genprior.registry import installed

    if kind is not None and name is not None:
        print_parts.print_part(installed(), kind, name)
    else:
        group = cast(TyperGroup, ctx.find_root().command)
        print_parts.print_parts(installed(), kind, verbose=verbose, disabled=disabled_commands(group.commands))


def schema(
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write to this file instead of printing.")] = None,
) -> None:
    """Print the JSON schema of recipes with the installed parts, for completion and validation in editors."""
    import json

    from genprior.cli.schema_file import write_schema
    from genprior.recipe.schema import recipe_schema
    from genprior.registry import installed

    recipes = recipe_schema(installed())
    if out is None:
        typer.echo(json.dumps(recipes, indent=2))
    else:
        write_schema(recipes, out)
        typer.echo(visible(f"written: {out}"))
