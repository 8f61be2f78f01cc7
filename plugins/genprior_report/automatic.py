"""The report that training leaves beside the table of a recipe."""

from __future__ import annotations

import os
from pathlib import Path

from genprior_report.report import write_report

__all__ = ["leave_report"]

SECONDS = 10.0
"""The time after which no section is begun that needs a model, so that training ends soon."""


def leave_report(folder: Path) -> None:
    """Write `report.html` into the folder of a recipe's table, unless `GENPRIOR_REPORT` is `off` in the environment.

    Raises:
        RunError: a file of that name is there that is no report; it is not overwritten.
        OSError: the file cannot be written.
    """
    if os.environ.get("GENPRIOR_REPORT", "").lower() == "off":
        return
    write_report([folder], folder / "report.html", seconds=SECONDS)
