"""The files of an exported model, and by what its folder is known."""

from __future__ import annotations

import json
from pathlib import Path

from genprior.storage.files import EXPORTED

__all__ = ["FILES", "MARK", "is_exported", "row_folder"]

FILES = (
    "recipe.toml",
    "run.json",
    "scores.json",
    "embedder.safetensors",
    EXPORTED,
    "model.json",
    "card.png",
    "README.md",
)
"""What an exported folder holds."""
MARK = "exported_by"
"""The fact in `model.json` by which an exported folder is known."""


def is_exported(folder: Path) -> bool:
    """Whether genprior wrote this folder as an exported model."""
    try:
        return MARK in json.loads((folder / "model.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def row_folder(folder: Path) -> Path:
    """The folder of a run's row, which a table's folder holds: that above `seed-<k>`, or the exported folder itself."""
    return folder if is_exported(folder) else folder.parent
