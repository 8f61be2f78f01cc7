"""The command `new`: its arguments. It imports what it needs when it runs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from genprior.cli import completion
from genprior.errors import visible

__all__ = ["new"]


def new(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="What the part is: prior, fitted_prior, encoder, model, score, ...",
            autocompletion=completion.new_kinds,
        ),
    ],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name in recipes, such as heavy_tails.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The folder to write; genprior-NAME by default.")
    ] = None,
) -> None:
    """Write a package with a part of your own: a working example with its test, a recipe and a README.

    KIND is a kind of parts as `genprior parts` lists them, or fitted_prior. Nothing is overwritten.
    """
    from genprior.cli.scaffold import names_of, write_package

    names = names_of(kind, name)
    folder = out if out is not None else Path(names.distribution)
    files = write_package(names, folder)
    typer.echo(visible(f"written: {folder}/ with {', '.join(map(str, files))}"))
    place = shlex.quote(str(folder))
    typer.echo(visible(f"next: cd {place} && pip install -e . && pytest && genprior train {names.name}.toml"))
