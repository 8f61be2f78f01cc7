"""The report: one HTML file of runs to look at, by `genprior report`, and beside each table that training writes."""

from __future__ import annotations

from pathlib import Path

from genprior import hookimpl

__all__ = ["genprior_table_written"]

SECONDS = 10.0
"""Training waits about so long for what its report computes with models."""


@hookimpl
def genprior_table_written(folder: Path) -> None:
    """Write `report.html` beside the table of a recipe."""
    from genprior_report.report import write_report

    write_report([folder], folder / "report.html", seconds=SECONDS)
