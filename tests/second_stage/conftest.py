"""Two small priors that are fitted to codes, which every test here can name in recipes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import genprior
from genprior.registry import installed
from tests.small_fitted import Affine, Bag


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    genprior.register(Affine)
    genprior.register(Bag)
    yield
    installed.cache_clear()
