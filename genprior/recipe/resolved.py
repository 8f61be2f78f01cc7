"""Reads the resolved recipe of one row, the `recipe.toml` of a run folder, as a recipe of that row."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from genprior.registry import Registry

__all__ = ["OwnRun", "is_resolved", "own_run", "with_usable_hooks"]


class OwnRun(NamedTuple):
    """The run whose folder a resolved recipe is in: `<home>/<row>/seed-<seed>/recipe.toml`."""

    home: Path
    """The folder of the table."""
    seed: int
    """The seed of the run."""


def is_resolved(document: Mapping[str, Any]) -> bool:
    """Whether a document is the resolved recipe of one row, which has the label of the row at its top level."""
    return "label" in document and not document.keys() & {"row", "change"}


def own_run(file: Path, label: Any) -> OwnRun | None:
    """The run whose resolved recipe a file is; None if it is elsewhere, such as a copy.

    Args:
        file: a file that holds a resolved recipe.
        label: the label of its row.
    """
    folder = Path(os.path.abspath(file)).parent  # without `..`, so that the names are those of the folders
    seed = re.fullmatch(r"seed-(\d+)", folder.name)
    if file.name != "recipe.toml" or seed is None or folder.parent.name != label:
        return None
    home = folder.parent.parent
    return OwnRun(home.relative_to(Path.cwd()) if home.is_relative_to(Path.cwd()) else home, int(seed[1]))


def with_usable_hooks(table: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    """A resolved recipe without hooks that are not installed or whose settings are not valid any more."""
    run = table.get("run")
    hooks = run.get("hooks") if isinstance(run, dict) else None
    if not isinstance(run, dict) or not isinstance(hooks, dict):
        return dict(table)

    def usable(name: str, settings: Any) -> bool:
        try:
            registry.configure("hook", {**settings, "name": name})
        except (TypeError, ValueError):
            return False
        return True

    kept = {name: settings for name, settings in hooks.items() if usable(name, settings)}
    return {**table, "run": {**run, "hooks": kept}}
