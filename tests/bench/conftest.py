"""Finished runs of a small recipe, and a cache for each test."""

from __future__ import annotations

import shutil

import pytest

from .tables import RECIPE


@pytest.fixture(scope="session")
def small(tmp_path_factory, call):
    """The folder of a recipe and of its finished runs; tests only read it."""
    home = tmp_path_factory.mktemp("small")
    (home / "small.toml").write_text(RECIPE, encoding="utf-8")
    result = call("train", home / "small.toml", "--out", home / "runs", "--jobs", 1)
    assert result.exit_code == 0, result.output
    return home


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv("GENPRIOR_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def copy(small, tmp_path):
    """A copy of the runs that a test may change."""
    return shutil.copytree(small / "runs", tmp_path / "copy")
