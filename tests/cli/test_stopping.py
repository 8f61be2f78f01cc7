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


LONG = (
    *("--with", "long", "--set", "run.steps=100000", "--set", "run.checkpoint_every=100000"),
    *("--set", "run.log_every=20", "--set", "run.hooks.pictures.enabled=false", "--device", "cpu"),
)


def lines_logged(out: Path, row: str) -> int:
    metrics = out / row / "seed-0" / "metrics.jsonl"
    return len(metrics.read_text().splitlines()) if metrics.exists() else 0


def wait_until_they_train(out: Path, *rows: str, lines: int = 1) -> None:
    """Wait until each of these rows has logged so many more lines."""
    wanted = {row: lines_logged(out, row) + lines for row in rows}
    deadline = time.monotonic() + 120
    while any(lines_logged(out, row) < wanted[row] for row in rows):
        assert time.monotonic() < deadline, wanted
        time.sleep(0.05)


def check_that_it_stopped(process: subprocess.Popen[str], heard: str, out: Path, rows: set[str]) -> None:
    """All rows that were training have checkpoints, and what the command says is right."""
    rest = process.communicate(timeout=120)[1]
    assert process.returncode == 130, heard + rest
    assert "stopped: 0 of 2 runs are finished; the same command resumes the others" in rest
    assert "Traceback" not in heard + rest
    assert checkpoints(out) == rows


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_to_the_command_alone_stops_all_rows_with_checkpoints(recipe, name):
    out = recipe.parent / "out"
    process = start("train", recipe, *LONG, "--out", out, "--jobs", 2)
    heard = heard_until(process, r"\[A\]: step \d+ of")
    wait_until_they_train(out, "AAE", "[A]")
    process.send_signal(signal.Signals[name])
    check_that_it_stopped(process, heard, out, {"AAE", "[A]"})


def test_a_signal_stops_the_one_row_in_training_and_the_next_does_not_begin(recipe):
    """SIGHUP here; SIGTERM to one process is tried below, where SIGHUP is ignored."""
    out = recipe.parent / "out"
    process = start("train", recipe, *LONG, "--out", out, "--jobs", 1)
    heard = heard_until(process, r": step \d+ of")
    process.send_signal(signal.SIGHUP)
    check_that_it_stopped(process, heard, out, {"AAE"})
    assert not (out / "[A]").exists()


def test_nohup_keeps_a_training_from_stopping_with_its_terminal(recipe):
    command = (
        "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); from genprior.cli.app import main; main()"
    )
    out = recipe.parent / "out"
    arguments = ["train", recipe, *LONG, "--out", out, "--jobs", "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", command, *map(str, arguments)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    heard = heard_until(process, r": step \d+ of")
    process.send_signal(signal.SIGHUP)
    wait_until_they_train(out, "AAE", lines=3)  # a training that stops ends after its step
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    check_that_it_stopped(process, heard, out, {"AAE"})
    assert not (out / "[A]").exists()


def test_workers_whose_parent_is_gone_stop_with_checkpoints(recipe):
    out = recipe.parent / "out"
    process = start("train", recipe, *LONG, "--out", out, "--jobs", 2)
    heard_until(process, r"AAE: step \d+ of")
    wait_until_they_train(out, "AAE", "[A]")
    children = workers(process)
    assert len(children) == 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60
    while any(map(alive, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, children)) and checkpoints(out) == {"AAE", "[A]"}


def test_a_lost_worker_fails_its_row_alone(recipe):
    """One worker is killed, one told to stop; their rows would train for hours, and the third row finishes."""
    text = recipe.read_text().replace("changes = []", 'changes = ["long"]')
    endless = '[change.endless.run]\nsteps = 100_000\n[[row]]\nlabel = "[B]"\nchanges = ["A", "endless"]\n'
    recipe.write_text(text.replace('changes = ["A"]', 'changes = ["A", "endless"]') + endless)
    out = recipe.parent / "out"
    quick = ("--set", "run.hooks.pictures.enabled=false", "--device", "cpu")
    process = start("train", recipe, *quick, "--out", out, "--jobs", 3)
    heard = heard_until(process, r"\[[AB]\]: step \d+ of")
    wait_until_they_train(out, "[A]", "[B]")
    locked = {}
    for child in workers(process):
        for handle in (Path("/proc") / str(child) / "fd").iterdir():
            if str(target := handle.resolve()).endswith("/.lock"):
                locked[Path(target).parent.parent.name] = child
    os.kill(locked["[A]"], signal.SIGKILL)
    os.kill(locked["[B]"], signal.SIGTERM)
    rest = process.communicate(timeout=200)[1]
    assert process.returncode == 1, heard + rest
    killed = r"\[A\]: failed: row '\[A\]': its process was killed \(SIGKILL\); give the same command again"
    told = r"\[B\]: failed: row '\[B\]' stopped after \d+ of 100000 steps: its process was told to stop; give the"
    assert re.search(killed, rest) and re.search(told, rest)
    listed = rest.partition("error: 2 of 3 runs failed:\n")[2]
    assert "  [A]: row '[A]'" in listed and "  [B]: row '[B]'" in listed
    assert json.loads((out / "AAE" / "seed-0" / "run.json").read_text())["finished"]
    table = json.loads((out / "table.json").read_text())
    assert [row["label"] for row in table["rows"]] == ["AAE"]
    assert table["missing"] == ["[A]/seed-0", "[B]/seed-0"]
