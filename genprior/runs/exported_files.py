"""The files of an exported model, and by what its folder is known."""

from __future__ import annotations

import json
from pathlib import Path

from genprior.storage import checkpoint

__all__ = ["FILES", "MARK", "is_exported"]

FILES = (
    "recipe.toml",
    "run.json",
    "scores.json",
    "embedder.safetensors",
    checkpoint.EXPORTED,
    "model.json",
    "samples.png",
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
