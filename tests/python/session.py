"""A fixture: parts that a test registers are gone after it."""

from __future__ import annotations

import pytest

from genprior.registry import installed


@pytest.fixture
def clean_session():
    """Restore the registry of this process after the test."""
    registry = installed()
    kept = dict(registry._parts), dict(registry._origins), list(registry.plugins)
    yield registry
    registry._parts, registry._origins, registry.plugins = kept
