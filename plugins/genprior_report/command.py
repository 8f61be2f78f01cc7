"""The command `genprior report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["report"]

report = typer.Typer(add_completion=False)


@report.command("report")
def _report(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folders of runs, or folders above them.")],
    out: Annotated[
        Path | None, typer.Option(help="The HTML file; by default report.html in RUN, or here for several.")
    ] = None,
    all_seeds: Annotated[
        bool, typer.Option("--all-seeds", help="Pictures and curves of every seed, instead of one seed of each row.")
    ] = False,
    from_records: Annotated[
        bool, typer.Option("--from-records", help="Only what lies on disk: load no model and no data.")
    ] = False,
) -> None:
    """Write one HTML file of RUN...: the table, curves, samples, codes and recipes, to look at without a network."""
    from genprior import RunError
    from genprior_report.report import default_file, write_report

    if "" in runs:
        raise RunError("a RUN is empty, as of a variable that is not set; give a folder. The current folder is .")
    paths = [Path(run) for run in runs]
    file = out or default_file(paths)
    write_report(paths, file, all_seeds=all_seeds, seconds=0.0 if from_records else None)
    typer.echo(str(file))
