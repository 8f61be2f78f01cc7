"""The long run of `make fuzz MINUTES=10`; also SEED, TARGETS (names with spaces between) and OUT."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from .rounds import fuzz
from .targets import TARGETS


@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_no_failure_in_some_minutes():
    seed = int(os.environ.get("SEED") or time.time())
    names = os.environ.get("TARGETS", "").split() or list(TARGETS)
    out = Path(os.environ.get("OUT") or "fuzz-failures")
    assert not fuzz(float(os.environ.get("MINUTES") or 10), seed, out, names)
