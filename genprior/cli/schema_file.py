"""Writes the JSON schema of recipes to a file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from genprior.errors import RecipeError
from genprior.recipe.schema import TITLE
from genprior.storage.files import write_json

__all__ = ["write_schema"]


def write_schema(schema: dict[str, Any], path: Path) -> None:
    """Write a schema from `recipe_schema`, in the place of an older one if there is one.

    Args:
        schema: the schema.
        path: the file; folders above it are made.

    Raises:
        RecipeError: the file is something else than a schema of recipes, or cannot be written.
    """
    try:
        if os.path.lexists(path) and not _is_schema(path):
            raise RecipeError(
                f"{path} exists already and is not a schema of recipes, so it is not overwritten; give another --out, "
                "or remove it"
            )
        write_json(path, schema)
    except OSError as error:
        raise RecipeError(
            f"the schema cannot be written to {path}: {error.strerror or error}; give another --out"
        ) from error


def _is_schema(path: Path) -> bool:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (IsADirectoryError, FileNotFoundError, ValueError, RecursionError):
        return False
    return isinstance(kept, dict) and kept.get("title") == TITLE
