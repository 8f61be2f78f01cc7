from __future__ import annotations

import pytest

from .packages import Packages, packages_below


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """A package of each kind; tests do not change its files."""
    return packages_below(tmp_path_factory.mktemp("packages"))
