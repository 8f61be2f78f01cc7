"""SIGTERM and SIGHUP stop a training as Ctrl-C does, a worker without parent stops, and a lost worker fails its row."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds workers in /proc"),
]


def start(*arguments: object, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "genprior", *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def heard_until(process: subprocess.Popen[str], pattern: str) -> str:
    heard = []
    for line in process.stderr:
        heard.append(line)
        if re.search(pattern, line):
            return "".join(heard)
    pytest.fail("".join(heard))


def workers(process: subprocess.Popen[str]) -> list[int]:
    """The worker processes, in the order of their start."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((each / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == process.pid and b"spawn_main" in (each / "cmdline").read_bytes():
                found.append(int(each.name))
        except OSError:
            continue
    return sorted(found)


def alive(number: int) -> bool:
    try:
        return (Path("/proc") / str(number) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def checkpoints(out: Path) -> set[str]:
    return {path.parent.parent.parent.name for path in out.rglob("step-*.json")}


LONG = ("--with", "long", "--set", "run.steps=100000", "--set", "run.checkpoint_every=100000", "--device", "cpu")


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_to_the_command_alone_stops_all_rows_with_checkpoints(recipe, name, jobs):
    out = recipe.parent / "out"
    process = start("train", recipe, *LONG, "--out", out, "--jobs", jobs)
    heard = heard_until(process, r"\[A\]: step \d+ of" if jobs == 2 else r": step \d+ of")
    process.send_signal(signal.Signals[name])
    rest = process.communicate(timeout=120)[1]
    assert process.returncode == 130, heard + rest
    assert "stopped: 0 of 2 runs are finished; the same command resumes the others" in rest
    assert "Traceback" not in heard + rest
    # With one job the second row never begins.
    assert "AAE" in checkpoints(out) and (out / "[A]").exists() == (jobs == 2)


def test_nohup_keeps_a_training_from_stopping_with_its_terminal(recipe):
    command = (
        "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); from genprior.cli.app import main; main()"
    )
    out = recipe.parent / "out"
    arguments = ["train", recipe, *LONG, "--rows", "AAE", "--out", out, "--jobs", "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", command, *map(str, arguments)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    heard_until(process, r": step \d+ of")
    process.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 130


def test_workers_whose_parent_is_gone_stop_with_checkpoints(recipe):
    out = recipe.parent / "out"
    process = start("train", recipe, *LONG, "--out", out, "--jobs", 2)
    heard_until(process, r"AAE: step \d+ of")
    children = workers(process)
    assert len(children) == 2
    time.sleep(3)  # the other row trains as well
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60
    while any(map(alive, children)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, children)) and "AAE" in checkpoints(out)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SIGKILL", r"\[A\]: failed: row '\[A\]': its process was killed \(SIGKILL\); give the same command again"),
        (
            "SIGTERM",
            r"\[A\]: failed: row '\[A\]' stopped after \d+ of 3000 steps: its process was told to stop; give the",
        ),
    ],
)
def test_a_lost_worker_fails_its_row_alone(recipe, name, text):
    out = recipe.parent / "out"
    steps = ("--with", "long", "--set", "run.steps=3000", "--device", "cpu")
    process = start("train", recipe, *steps, "--out", out, "--jobs", 2)
    heard = heard_until(process, r"\[A\]: step \d+ of")
    children = workers(process)
    locked = {}
    for child in children:
        for handle in (Path("/proc") / str(child) / "fd").iterdir():
            if str(target := handle.resolve()).endswith("/.lock"):
                locked[Path(target).parent.parent.name] = child
    os.kill(locked["[A]"], signal.Signals[name])
    rest = process.communicate(timeout=200)[1]
    assert process.returncode == 1, heard + rest
    assert re.search(text, rest) and "error: 1 of 2 runs failed:\n  [A]: row '[A]'" in rest
    assert json.loads((out / "AAE" / "seed-0" / "run.json").read_text())["finished"]
    table = json.loads((out / "table.json").read_text())
    assert [row["label"] for row in table["rows"]] == ["AAE"] and table["missing"] == ["[A]/seed-0"]
