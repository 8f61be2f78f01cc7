"""The cache folder; importing this imports no torch, for what has to be quick."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """The folder of decoded data sets: `$GENPRIOR_DATA`, else the user's cache folder (`~/.cache/genprior/data`)."""
    folder = os.environ.get("GENPRIOR_DATA")
    return Path(folder).expanduser() if folder else platformdirs.user_cache_path("genprior", appauthor=False) / "data"
