"""The plugin with the scripted score, installed, and the small recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

import genprior
from genprior.registry import Origin, installed

from ..small_stopping import RECIPE, SEEN, Plugin


@pytest.fixture(autouse=True)
def _installed():
    SEEN.clear()
    installed.cache_clear()
    installed().add(Plugin(), Origin("mine", "genprior-mine 1.2"))
    yield
    installed.cache_clear()


@pytest.fixture
def path(tmp_path) -> Path:
    """The file of the small recipe."""
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def plan(path):
    """A function that gives the plan of its row, with settings."""
    return lambda *given: genprior.load_recipe(path, settings=given).plans[0]
