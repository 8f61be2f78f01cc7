"""The report: one HTML file of runs to look at, by `genprior report`, and beside each table that training writes."""

from __future__ import annotations

from pathlib import Path

from genprior import hookimpl

__all__ = ["genprior_table_written"]


@hookimpl
def genprior_table_written(folder: Path) -> None:
    """Write `report.html` beside the table of a recipe."""
    from genprior_report.automatic import leave_report

    leave_report(folder)
