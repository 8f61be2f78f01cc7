"""The names of the installed parts in a file of the cache folder, so that completion need not import the plugins.

`genprior --install-completion` and `--show-completion` write the file. Where a shell completes and there is no file, as
with another cache folder, the next command that loads the plugins writes it; every later one, if they have changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genprior.storage.cache_folder import cache_folder
from genprior.storage.files import write_json

__all__ = ["keep_part_names", "part_names", "recipes_of_figure", "want_part_names"]


def part_names() -> dict[str, dict[str, str]]:
    """The names of the parts by kind, each with a sentence of what it is; empty if they were not kept."""
    kinds = _kept().get("kinds", {})
    return kinds if isinstance(kinds, dict) else {}


def recipes_of_figure(name: str) -> list[str]:
    """The recipes that train the runs of a figure, such as `recipes/table1_priors.toml`."""
    found = _kept().get("figures", {}).get(name, [])
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def want_part_names() -> None:
    """Let the next command that loads the plugins write the names, as a shell completes here."""
    with contextlib.suppress(OSError):
        _file().parent.mkdir(parents=True, exist_ok=True)


def keep_part_names(*, first: bool = False) -> None:
    """Write the names of the parts, if they are known and not yet written; if they cannot be written, do nothing.

    Args:
        first: whether they are also written if they never were, for which the plugins are loaded.
    """
    with contextlib.suppress(Exception):  # completion is a convenience and must not end a command
        if not _file().parent.is_dir() and not first:
            return
        if first:
            from genprior.registry import installed
        elif "genprior.registry" not in sys.modules:
            return
        else:
            installed = sys.modules["genprior.registry"].installed
            if not installed.cache_info().currsize:
                return
        names = _names(installed())
        if names != _kept():
            write_json(_file(), names)


def _names(registry: Any) -> dict[str, Any]:
    from genprior.registry import KINDS

    kinds: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    figures: dict[str, list[str]] = {}
    for part in registry.all():
        kinds[part.kind][part.name] = " ".join(part.summary().split())
        if issubclass(part, KINDS["figure"]):
            figures[part.name] = [each.recipe for each in part.recipes]
    return {"kinds": kinds, "figures": figures}


def _kept() -> Mapping[str, Any]:
    try:
        kept = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _file() -> Path:
    """Each environment has its own file, because other plugins are installed in it."""
    return cache_folder() / "completion" / f"{hashlib.sha256(sys.prefix.encode()).hexdigest()[:16]}.json"
