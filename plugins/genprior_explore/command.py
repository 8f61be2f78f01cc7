"""The command `genprior explore`."""

from __future__ import annotations

import importlib.util
from typing import Annotated

import typer

__all__ = ["explore"]

explore = typer.Typer(add_completion=False)


@explore.command("explore")
def _explore(
    runs: Annotated[list[str], typer.Argument(metavar="RUN [RUN]", help="Folders of one run or of two.")],
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="The port; by default the first free one from 7860.", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option(help="Where models compute: cpu, cuda or auto.")] = "cpu",
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
) -> None:
    """Open a local app of one run or two: move noise, walk between points, and decode points of the code space."""
    from genprior import PlanError

    if importlib.util.find_spec("gradio") is None:
        raise PlanError(
            'genprior explore needs the package gradio, which is not installed: pip install "genprior[explore]"'
        )
    if len(runs) > 2:
        raise PlanError(f"genprior explore shows one run or two side by side, and {len(runs)} were given")
    from genprior_explore.explorer import open_explorer
    from genprior_explore.serve import free_socket, serve

    explorers = [open_explorer(run, device=device) for run in runs]
    with free_socket(port) as listening:
        serve(explorers, listening, show=show)
