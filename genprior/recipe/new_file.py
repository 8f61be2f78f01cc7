"""Writes a recipe to a new file. Imports no torch."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from genprior.errors import RecipeError

__all__ = ["write_new"]


def write_new(path: Path, text: str) -> None:
    """Write a text to a file that does not exist yet, whole or not at all.

    Raises:
        RecipeError: the file exists or cannot be written.
    """
    if os.path.lexists(path):  # also a link to nothing; False for a path that no file can have
        raise RecipeError(f"{path} exists, and nothing was written; give another path, or remove the file")
    try:
        with tempfile.TemporaryDirectory(prefix=".recipe-", dir=path.parent) as folder:
            partial = Path(folder, "recipe.toml")
            partial.write_text(text, encoding="utf-8")
            os.rename(partial, path)
    except (OSError, ValueError) as error:  # a ValueError says that the path has a null character
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise RecipeError(f"the recipe {path} cannot be written: {reason}; give another path") from error
