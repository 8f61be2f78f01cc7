"""The command that exports runs: as a graph, as a folder, to a hub. It imports what it needs when it runs."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from genprior.cli.options import RowOfTable, Sampled

__all__ = ["export"]


class Start(enum.StrEnum):
    """Where an ONNX graph begins."""

    NOISE = "noise"
    CODE = "code"


def export(
    run: Sampled,
    onnx: Annotated[
        Path | None, typer.Option("--onnx", metavar="FILE", help="Write prior and decoder as one ONNX graph.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FOLDER", help="Write weights, recipe and model card.")
    ] = None,
    push: Annotated[
        str | None, typer.Option("--push", metavar="USER/NAME", help="Upload them to the Hugging Face hub.")
    ] = None,
    start: Annotated[
        Start, typer.Option("--input", help="Input of the ONNX graph: noise, or the code without the prior.")
    ] = Start.NOISE,
    private: Annotated[bool, typer.Option("--private", help="Of --push: make a new repository private.")] = False,
    row: RowOfTable = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE, or FOLDER if genprior wrote it.")] = False,
) -> None:
    """Export a run: as an ONNX graph, as a folder that load_run opens anywhere, to a hub."""
    from genprior.cli import console
    from genprior.errors import RunError
    from genprior.runs.find import one_run

    if onnx is None and to is None and push is None:
        raise RunError("give --onnx FILE, --to FOLDER or --push USER/NAME; several may be given")
    if private and push is None:
        raise RunError("--private is of a repository on the hub; give --push USER/NAME too, or leave it out")
    if start is not Start.NOISE and onnx is None:
        raise RunError(f"--input {start.value} is of an ONNX graph; give --onnx FILE too, or leave it out")
    found = one_run(run, row)
    if onnx is not None:
        from genprior.runs.onnx_file import export_onnx

        inputs = export_onnx(found, onnx, start=start.value, force=force)
        console.print_line(f"{onnx}: images [n, c, h, w] in [-1, 1] from")
        for name, text in inputs.items():
            console.print_line(f"  {name}: {text}")
    if to is not None:
        from genprior.tables.model_card import export_folder

        export_folder(found, to, force=force)
        console.print_line(f"{found.label}, seed {found.seed}: {to}")
    if push is not None:
        from genprior.tables.pushed import push_run

        console.print_line(f"{found.label}, seed {found.seed}: {push_run(found, push, private=private)}")
