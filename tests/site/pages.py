"""The modules of `docs/site`, which are no package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs" / "site"


def module(name: str) -> ModuleType:
    """A module of `docs/site`, such as `generated`."""
    spec = importlib.util.spec_from_file_location(f"docs_site_{name}", SITE / f"{name}.py")
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    before = list(sys.path)
    sys.path.insert(0, str(SITE))
    spec.loader.exec_module(loaded)
    sys.path[:] = before
    return loaded
