"""Merge run folders from another machine, keeping the copy of each run that has trained further.

    python3 collect.py CAME RUNS      every run folder under CAME goes to the same place under RUNS

A run folder is one with a `run.json`. It is copied if there is none here, or if it has trained further: finished beats
unfinished, then the later checkpoint wins; at a tie the one here is kept. Tables and other files beside run folders are
not copied: `genprior train` and `genprior bench` write them anew. Needs Python 3.9 and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from pathlib import Path

__all__ = ["main", "progress", "take_over"]


def progress(folder: Path) -> tuple[bool, int]:
    """Whether a run is finished, and the step of its latest checkpoint (0 without one).

    A `run.json` that cannot be read counts as unfinished.
    """
    try:
        finished = bool(json.loads((folder / "run.json").read_text(encoding="utf-8")).get("finished"))
    except (OSError, ValueError, AttributeError):
        finished = False
    steps = [0]
    # The JSON of a checkpoint is written last, so if it exists, the checkpoint is complete.
    for path in (folder / "checkpoints").glob("step-*.json"):
        number = re.fullmatch(r"step-(\d+)", path.stem)
        if number:
            steps.append(int(number.group(1)))
    return finished, max(steps)


def take_over(came: Path, runs: Path) -> dict[str, str]:
    """Copy each run folder that has trained further than the one here.

    Args:
        came: the folder from the other machine.
        runs: the folder of runs here.

    Returns:
        For each run folder, by its path: `taken`, or `kept` if the one here has trained as far or further.

    Raises:
        FileNotFoundError: there is no run folder in `came`.
    """
    folders = sorted(path.parent for path in came.rglob("run.json"))
    if not folders:
        raise FileNotFoundError(f"there is no run folder (one with a run.json) in {came}")
    outcome = {}
    for folder in folders:
        place = folder.relative_to(came)
        here = runs / place
        if here.exists() and progress(here) >= progress(folder):
            outcome[str(place)] = "kept"
            continue
        here.parent.mkdir(parents=True, exist_ok=True)
        new, old = here.with_name(here.name + ".new"), here.with_name(here.name + ".old")
        for path in (new, old):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(folder, new)
        if here.exists():
            os.replace(here, old)
        os.replace(new, here)
        shutil.rmtree(old, ignore_errors=True)
        outcome[str(place)] = "taken"
    return outcome


def main(arguments: list[str] | None = None) -> int:
    """Merge the run folders of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("came", type=Path)
    parser.add_argument("runs", type=Path)
    options = parser.parse_args(arguments)
    try:
        for place, what in take_over(options.came, options.runs).items():
            finished, step = progress(options.runs / place)
            print(f"{place}: {what}, {'finished' if finished else f'at step {step}'}")
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
