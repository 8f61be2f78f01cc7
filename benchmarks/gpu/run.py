"""Work through a list of commands in sittings of a few minutes; each command goes on where it was cut off.

    python3 run.py JOBS.json STATE.json [--minutes 8]

JOBS.json is a list of `{"name": ..., "command": [...]}`; in a command `{python}` is this interpreter and `{bin}` the
folder of its scripts. Near the end of a sitting the running command is asked to stop as by Ctrl-C, upon which training
writes a checkpoint; what does not stop is killed, and loses what it did since its last checkpoint. Give the same
command again for the next sitting. A command that failed is left out from then on, unless `--again` is given.

Exit status: 0 all is done, 3 there is more to do, 1 nothing is left but failures. Needs Python 3.9 and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["main", "sitting"]

DONE, MORE, FAILED = 0, 3, 1


def sitting(
    jobs: list[dict[str, Any]], state_file: Path, seconds: float, grace: float = 45, again: bool = False
) -> int:
    """Run commands in order until all are done or the time is up.

    Args:
        jobs: each with a `name` of its own and a `command`.
        state_file: what is done; written whole after every command.
        seconds: the whole sitting, with the time to stop.
        grace: how much of it is kept for a command to stop in.
        again: give commands that failed another trial.

    Returns:
        The exit status of `main`.
    """
    began = time.monotonic()
    state: dict[str, Any] = json.loads(state_file.read_text(encoding="utf-8")) if state_file.exists() else {}
    logs = state_file.parent / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    for job in jobs:
        known = state.setdefault(job["name"], {"status": "waiting", "seconds": 0.0, "sittings": 0})
        if known["status"] == "done" or (known["status"] == "failed" and not again):
            continue
        left = seconds - (time.monotonic() - began)
        if left <= grace:
            return MORE
        status, took, code = _run(job, logs / f"{job['name']}.log", left - grace, grace)
        known.update(
            status=status, seconds=round(known["seconds"] + took, 1), sittings=known["sittings"] + 1, exit=code
        )
        _write(state_file, state)
        print(f"{job['name']}: {status} after {known['seconds']:.0f} s in {known['sittings']} sittings", flush=True)
        if status == "cut":
            return MORE
    statuses = {state[job["name"]]["status"] for job in jobs}
    return FAILED if "failed" in statuses else DONE


def _run(job: dict[str, Any], log: Path, seconds: float, grace: float) -> tuple[str, float, int]:
    here = {"{python}": sys.executable, "{bin}": str(Path(sys.executable).parent)}
    command = []
    for word in job["command"]:
        for mark, value in here.items():
            word = word.replace(mark, value)
        command.append(word)
    began = time.monotonic()
    with log.open("ab") as out:
        out.write(f"--- {' '.join(command)}\n".encode())
        out.flush()
        try:
            # In a group of its own, so that its worker processes are stopped with it.
            process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            out.write(f"{error}\n".encode())
            return "failed", time.monotonic() - began, 127
        try:
            code = process.wait(seconds)
            return ("done" if code == 0 else "failed"), time.monotonic() - began, code
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGINT)
        try:
            code = process.wait(0.8 * grace)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        return ("done" if code == 0 else "cut"), time.monotonic() - began, code


def _write(path: Path, state: dict[str, Any]) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)


def main(arguments: list[str] | None = None) -> int:
    """Run one sitting, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", type=Path)
    parser.add_argument("state", type=Path)
    parser.add_argument("--minutes", type=float, default=8, help="length of the sitting")
    parser.add_argument("--grace", type=float, default=45, help="seconds of it kept for a command to stop in")
    parser.add_argument("--again", action="store_true", help="give commands that failed another trial")
    asked = parser.parse_args(arguments)
    jobs = json.loads(asked.jobs.read_text(encoding="utf-8"))
    names = [job["name"] for job in jobs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        print(f"{asked.jobs}: the name '{twice[0]}' is there twice; every job needs a name of its own", file=sys.stderr)
        return 2
    return sitting(jobs, asked.state, asked.minutes * 60, asked.grace, asked.again)


if __name__ == "__main__":
    raise SystemExit(main())
