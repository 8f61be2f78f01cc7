"""A worker whose parent was killed ends, whatever it computes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from genprior.launch.processes import end_after_parent

SCRIPT = """
import multiprocessing, os, time
from genprior.launch.processes import end_after_parent

def work(seconds):
    end_after_parent(seconds)
    print(os.getpid(), flush=True)
    time.sleep(120)  # a score that takes long

if __name__ == "__main__":
    worker = multiprocessing.get_context("spawn").Process(target=work, args=({seconds},))
    worker.start()
    worker.join()
"""


def alive(pid):
    """Whether the process computes still; one that ended and that nobody asked for does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="looks at processes in /proc")
def test_a_worker_in_a_score_ends_after_its_parent_was_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(SCRIPT.format(seconds=0.5))
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        assert alive(worker)
        killed = time.monotonic()
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        while alive(worker):
            assert time.monotonic() < killed + 60
            time.sleep(0.05)
    assert time.monotonic() > killed + 0.5  # it had its time for a checkpoint


def test_a_process_without_a_parent_of_its_kind_goes_on():
    assert multiprocessing.parent_process() is None
    end_after_parent(0.0)
    time.sleep(0.1)
