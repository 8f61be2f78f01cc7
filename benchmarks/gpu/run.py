"""Run a list of commands in sittings of a few minutes; an interrupted command is resumed in the next sitting.

    python3 run.py JOBS.json STATE.json [--minutes 8] [--together]

JOBS.json is a list of `{"name": ..., "command": [...]}`; in a command `{python}` is this interpreter and `{bin}` the
folder of its scripts. A job may have a `limit` in seconds, after which it is stopped and counts as failed, and the next
one begins. Near the end of a sitting the running command gets SIGINT (as by Ctrl-C), upon which training
writes a checkpoint; a command that does not stop is killed, and loses its work since the last checkpoint. Run the same
command for the next sitting. A command that failed is skipped from then on, unless `--again` is given.

With `--together` all commands run at once, for trainings that leave most of a GPU idle. So that their processes do not
take turns on it, an MPS daemon is started for them (`nvidia-cuda-mps-control`, if it is on the PATH) and stopped at the
end.

Exit status: 0 all is done, 3 there is more to do, 1 nothing is left but failures. Needs Python 3.9 and nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

__all__ = ["main", "sharing_a_gpu", "sitting", "together"]

MPS_CONTROL = "nvidia-cuda-mps-control"

DONE, MORE, FAILED = 0, 3, 1


def sitting(
    jobs: list[dict[str, Any]], state_file: Path, seconds: float, grace: float = 45, again: bool = False
) -> int:
    """Run commands in order until all are done or the time is up.

    Args:
        jobs: each with a unique `name` and a `command`, and perhaps a `limit` in seconds.
        state_file: the status of every command; replaced after each.
        seconds: length of the sitting, including `grace`.
        grace: seconds reserved for a command to stop.
        again: retry commands that failed.

    Returns:
        The exit status of `main`.
    """
    began = time.monotonic()
    state, logs = _opened(state_file)
    for job in jobs:
        record = state.setdefault(job["name"], {"status": "waiting", "seconds": 0.0, "sittings": 0})
        if record["status"] == "done" or (record["status"] == "failed" and not again):
            continue
        left = seconds - (time.monotonic() - began)
        if left <= grace:
            return MORE
        limit = job.get("limit", left)
        status, took, code = _run(job, logs / f"{job['name']}.log", min(limit, left - grace), grace)
        if status == "cut" and limit < left - grace:
            status = "failed"
            record["limit"] = limit
        record.update(
            status=status, seconds=round(record["seconds"] + took, 1), sittings=record["sittings"] + 1, exit=code
        )
        _write(state_file, state)
        within = f", at its limit of {limit:g} s" if "limit" in record and status == "failed" else ""
        sittings = f"{record['sittings']} sitting{'s' if record['sittings'] != 1 else ''}"
        print(f"{job['name']}: {status}{within} after {record['seconds']:.0f} s in {sittings}", flush=True)
        if status == "cut":
            return MORE
    statuses = {state[job["name"]]["status"] for job in jobs}
    return FAILED if "failed" in statuses else DONE


def together(
    jobs: list[dict[str, Any]], state_file: Path, seconds: float, grace: float = 45, again: bool = False
) -> int:
    """Run all commands at once until they are done or the time is up, without limits of their own; see `sitting`."""
    began = time.monotonic()
    state, logs = _opened(state_file)
    for job in jobs:
        state.setdefault(job["name"], {"status": "waiting", "seconds": 0.0, "sittings": 0})
    left = [job for job in jobs if state[job["name"]]["status"] not in ("done", *(() if again else ("failed",)))]
    writing = threading.Lock()

    def one(job: dict[str, Any]) -> None:
        within = max(0.0, seconds - grace - (time.monotonic() - began))
        status, took, code = _run(job, logs / f"{job['name']}.log", within, grace)
        record = state[job["name"]]
        with writing:
            record.update(
                status=status, seconds=round(record["seconds"] + took, 1), sittings=record["sittings"] + 1, exit=code
            )
            _write(state_file, state)
            print(f"{job['name']}: {status} after {record['seconds']:.0f} s", flush=True)

    with sharing_a_gpu(), ThreadPoolExecutor(max(1, len(left))) as pool:
        list(pool.map(one, left))
    statuses = {state[job["name"]]["status"] for job in jobs}
    if statuses & {"cut", "waiting"}:
        return MORE
    return FAILED if "failed" in statuses else DONE


def _opened(state_file: Path) -> tuple[dict[str, Any], Path]:
    """The statuses so far, and the folder of the logs."""
    logs = state_file.parent / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    return (json.loads(state_file.read_text(encoding="utf-8")) if state_file.exists() else {}), logs


@contextlib.contextmanager
def sharing_a_gpu() -> Iterator[None]:
    """An MPS daemon for the processes that are started inside of the block; a line says it where there is none."""
    control = shutil.which(MPS_CONTROL)
    if control is None or os.environ.get("CUDA_MPS_PIPE_DIRECTORY"):
        print("the daemon of CUDA_MPS_PIPE_DIRECTORY is used" if control else f"{MPS_CONTROL} is not on the PATH")
        yield
        return
    with tempfile.TemporaryDirectory(prefix="mps-", dir="/tmp") as folder:  # a short path, as sockets need
        variables = {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        own: dict[str, Any] = {"stdout": subprocess.DEVNULL, "timeout": 20, "env": {**os.environ, **variables}}
        try:
            subprocess.run([control, "-d"], check=True, stderr=subprocess.DEVNULL, **own)
        except (subprocess.SubprocessError, OSError) as error:
            print(f"processes take turns on the GPU, because MPS cannot be started: {error}", flush=True)
            yield
            return
        os.environ.update(variables)
        try:
            yield
        finally:
            for name in variables:
                os.environ.pop(name, None)
            with contextlib.suppress(subprocess.SubprocessError, OSError):
                subprocess.run([control], input=b"quit\n", **own)


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
            # In its own process group, so that its worker processes are stopped with it.
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
    parser.add_argument("--grace", type=float, default=45, help="seconds of it reserved for a command to stop")
    parser.add_argument("--again", action="store_true", help="retry commands that failed")
    parser.add_argument("--together", action="store_true", help="run all commands at once")
    options = parser.parse_args(arguments)
    jobs = json.loads(options.jobs.read_text(encoding="utf-8"))
    names = [job["name"] for job in jobs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        print(f"{options.jobs}: the name '{twice[0]}' is there twice; job names must be unique", file=sys.stderr)
        return 2
    run = together if options.together else sitting
    return run(jobs, options.state, options.minutes * 60, options.grace, options.again)


if __name__ == "__main__":
    raise SystemExit(main())
