"""The version of the files of a run folder, which each JSON and TOML file names under `format`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genprior.errors import NewerFormat

__all__ = ["FORMAT", "refuse_newer"]

FORMAT = 1
"""The format that this version writes, and the newest that it reads. Files of before formats had numbers name none."""


def refuse_newer(content: Any, path: Path) -> None:
    """Check that the parsed content of a file is of a known format.

    Raises:
        NewerFormat: a newer genprior wrote it.
    """
    named = content.get("format") if isinstance(content, dict) else None
    if isinstance(named, int) and named > FORMAT:
        raise NewerFormat(
            f"{path} has format {named}, which a newer genprior wrote; this one reads formats up to "
            f"{FORMAT}. Nothing was changed. Update genprior (pip install --upgrade genprior), or give another --out."
        )
