"""Lists the installed figures, or draws one and prints what was written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table as Grid
from rich.text import Text

from genprior.cli.console import console, print_line
from genprior.runs.figure_runs import RunsWanted, training_command
from genprior.runs.figures import installed_figures, make_figure

__all__ = ["list_figures", "write_figure"]


def list_figures() -> None:
    """Print the installed figures: what each shows, and the commands that train its runs."""
    grid = Grid()
    for heading in ("figure", "what it shows", "its runs are trained by"):
        grid.add_column(heading, overflow="fold")
    for figure in installed_figures():
        shown = " ".join((figure.__doc__ or "").strip().partition("\n\n")[0].split())
        commands = "\n".join(training_command(each.recipe) for each in figure.recipes) or "any recipe"
        grid.add_row(Text(figure.name, style="bold"), Text(shown), Text(commands))
    console().print(grid)


def write_figure(
    name: str, paths: Sequence[Path], *, changes: Sequence[str], rows: Sequence[str], run_seed: int | None, **how: Any
) -> None:
    """Draw a figure; print the runs that it shows and the files that were written.

    Raises:
        GenpriorError: see `make_figure`.
    """
    wanted = RunsWanted(tuple(paths), tuple(dict.fromkeys(changes)), tuple(rows), run_seed)
    made = make_figure(name, wanted, **how)
    for run in made.runs:
        print_line(f"{run.label}, seed {run.seed}: {run.folder}")
    for path in made.files:
        print_line(str(path), style="cyan")
