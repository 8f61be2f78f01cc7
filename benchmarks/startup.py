"""Start-up times: until the help text, and until the first training step of the demo."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

__all__ = ["measure"]

RECIPE = Path(__file__).parents[1] / "recipes" / "table3_ablation.toml"

# All of `genprior train ... --with quick --rows A+B+C` up to its first step: recipe, trial step, data, networks, step.
FIRST_STEP = f"""
import os, tempfile
import genprior
class ExitAfterFirstStep:
    def planned(self, jobs): pass
    def estimated(self, estimate): pass
    def finished(self, job, scores): pass
    def failed(self, job, error): raise error
    def progress(self, job, step, rate):
        print("step", step, flush=True)
        os._exit(0)
recipe = genprior.load_recipe({str(RECIPE)!r}, changes=["quick"])
with tempfile.TemporaryDirectory() as folder:
    genprior.train(recipe, rows=["A+B+C"], out=folder, device="cpu", reporter=ExitAfterFirstStep())
"""


def measure(repeats: int) -> dict[str, Any]:
    """Wall-clock seconds of each command: the median, and the least and the most.

    A command that fails has its last line of error instead of times.
    """
    script = Path(sys.executable).with_name("genprior")
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        'python -c "import torch"': [sys.executable, "-c", "import torch"],
        "genprior --help": [str(script), "--help"],
        "demo, to the end of its first step": [sys.executable, "-c", FIRST_STEP],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            for name, command in commands.items():
                if name in failed:
                    continue
                began = time.perf_counter()
                try:
                    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
                except OSError as error:
                    failed[name] = str(error)
                    continue
                times[name].append(time.perf_counter() - began)
                if done.returncode != 0:
                    failed[name] = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return {
        name: {"failed": failed[name]}
        if name in failed
        else {"median": statistics.median(t), "least": min(t), "most": max(t), "repeats": len(t)}
        for name, t in times.items()
    }
