"""Trainings side by side: each number of processes is measured, and every process trains."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

GPU = Path(__file__).parents[2] / "benchmarks" / "gpu"


def together(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(GPU / "together.py"), "--device", "cpu", "--width", "4", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_processes_train_side_by_side(tmp_path: Path) -> None:
    done = together("--row", "AAE", "--counts", 1, 2, "--seconds", 0.1, "--out", tmp_path / "out.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["steps_a_second"].keys() == {"1", "2"} and min(found["steps_a_second"].values()) > 0
    assert found["sharing"] is None  # on a CPU there is nothing to share
    assert "2 of AAE: " in done.stdout and "steps/s together" in done.stdout


def test_no_processes_are_refused() -> None:
    done = together("--counts", 0)
    assert done.returncode == 2 and "--counts and --seconds must be above 0" in done.stderr


def test_a_training_that_fails_ends_all() -> None:
    done = together("--row", "AAB", "--counts", 2)
    assert done.returncode == 1 and "a training failed: RecipeError: " in done.stderr and "Traceback" not in done.stderr
