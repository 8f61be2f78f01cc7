"""`train` as a user starts it: by torchrun itself, which starts the processes and ends with them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from .test_training import assert_same, long, recipe, trained

pytestmark = pytest.mark.slow  # torchrun, and each process, import torch
STOPPED = "stopped: 0 of 1 runs are finished; the same command resumes the others."


@pytest.fixture
def torchrun():
    """Start torchrun with two processes: `torchrun("train", ...)`; what still runs at the end is ended."""
    started = []

    def begin(*arguments):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        command += ["-m", "genprior", *(str(each) for each in arguments), "--device", "cpu"]
        given = os.environ | {"OMP_NUM_THREADS": "1"}
        pipe, both = subprocess.PIPE, subprocess.STDOUT
        started.append(subprocess.Popen(command, stdout=pipe, stderr=both, text=True, env=given))
        return started[-1]

    yield begin
    for each in started:
        if each.poll() is None:
            each.terminate()  # it ends its processes
            each.communicate(timeout=60)


def test_two_processes_train_what_one_trains(torchrun, genprior_ranks, tmp_path):
    path = recipe(tmp_path)
    text, _ = (process := torchrun("train", path, "--out", tmp_path / "2")).communicate(timeout=120)
    assert process.returncode == 0, text
    assert text.count("a: finished") == 1
    (one,) = genprior_ranks(1, "train", path, "--out", tmp_path / "1")
    assert one.code == 0, one.text
    assert_same(trained(tmp_path / "2/a/seed-0"), trained(tmp_path / "1/a/seed-0"))


def test_a_mistake_is_told_once_and_fails_torchrun(torchrun, tmp_path):
    process = torchrun("train", recipe(tmp_path, batch=1), "--out", tmp_path / "out")
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 1, text
    assert text.count("run.batch = 1 cannot be shared by 2 processes") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_writes_a_checkpoint_and_torchrun_ends(torchrun, tmp_path):
    """A terminal sends SIGINT to torchrun alone, whose processes have sessions of their own."""
    out = tmp_path / "out"
    process = torchrun("train", long(tmp_path), "--out", out)
    until = time.monotonic() + 90
    while not list(out.glob("a/seed-0/checkpoints/*.json")):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.1)
    before = time.monotonic()
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert text.count(STOPPED) == 1, text
    assert time.monotonic() - before < 30, "torchrun killed a process that did not stop"
    assert process.returncode != 0
