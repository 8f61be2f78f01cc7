"""Each test of data has a cache of its own, and no network."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of the cache, which may not exist."""

    def refuse(*args, **kwargs):
        raise urllib.error.URLError("this test has no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    folder = tmp_path / "cache"
    monkeypatch.setenv("GENPRIOR_DATA", str(folder))
    return folder
