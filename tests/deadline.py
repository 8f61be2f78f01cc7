"""A time at which a test run ends, for slow machines: tests that would begin later are skipped, and say so.

`GENPRIOR_TEST_DEADLINE`, in seconds since 1970, is set by continuous integration alone. Then the folders whose tests
are short and many come first, those that install packages, start browsers or write reports last, and files are dealt
out so that each of two workers has the same order.
"""

from __future__ import annotations

import math
import os
import time

import pytest

__all__ = ["in_order", "pytest_collection_modifyitems", "pytest_runtest_setup"]

FIRST = ("meta", "parts", "scores", "density", "routing", "contract", "models", "games", "ranks")
"""Folders whose tests come first."""
LAST = ("scaffold", "plugins", "report", "site", "explore", "bench", "benchmarks", "embedders", "sharing", "trackers")
"""Folders whose tests come last."""


def _deadline() -> float:
    return float(os.environ.get("GENPRIOR_TEST_DEADLINE", "inf"))


def _turn(folder):
    return 0 if folder in FIRST else 2 if folder in LAST else 1


def in_order(files):
    """The files in the order of a run with a deadline; workers get halves of it."""
    ranked = sorted(dict.fromkeys(files), key=lambda file: (_turn(file.parent.name), str(file)))
    return ranked[0::2] + ranked[1::2]


def pytest_collection_modifyitems(items):
    """Tests of the last folders come last, if there is a deadline."""
    if math.isfinite(_deadline()):
        place = {file: number for number, file in enumerate(in_order(item.path for item in items))}
        items.sort(key=lambda item: place[item.path])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):  # noqa: ARG001 - the hook's name
    """Skip a test that begins after the deadline."""
    if time.time() > _deadline():
        pytest.skip("this machine is too slow for all tests in the time that they have; `make test` has no limit")
