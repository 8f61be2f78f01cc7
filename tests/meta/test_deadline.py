"""With a deadline, which continuous integration sets, a slow machine skips the last tests; without one it runs all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deadline import in_order

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("deadline", "outcome"), [(None, "1 passed"), ("1", "1 skipped"), ("99999999999", "1 passed")])
def test_tests_after_the_deadline_are_skipped_and_say_why(deadline, outcome):
    environment = {name: value for name, value in os.environ.items() if name != "GENPRIOR_TEST_DEADLINE"}
    environment |= {} if deadline is None else {"GENPRIOR_TEST_DEADLINE": deadline}
    command = [sys.executable, "-m", "pytest", "-n", "0", "-rs", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "tests/meta/test_readme.py::test_the_demo_is_the_command_that_the_readme_promises"],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert outcome in done.stdout
    assert ("too slow for all tests" in done.stdout) == (outcome == "1 skipped")


def test_short_tests_come_first_and_long_ones_last_in_each_half():
    folders = ("scaffold", "core", "routing", "plugins", "cli", "parts")
    files = [Path("tests", folder, f"test_{number}.py") for folder in folders for number in range(2)]
    ordered = in_order(file for file in files for _ in range(3))
    assert sorted(ordered) == sorted(files)
    for half in (ordered[:6], ordered[6:]):
        named = [file.parent.name for file in half]
        assert [set(named[i : i + 2]) for i in (0, 2, 4)] == [
            {"parts", "routing"}, {"cli", "core"}, {"plugins", "scaffold"},
        ]  # fmt: skip
