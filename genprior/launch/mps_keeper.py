"""A process that starts an MPS daemon, and stops it when nobody needs it any more; imports the standard library only.

`genprior.launch.mps` starts this file as a program. Its standard input is a pipe whose other end the training and its
workers hold, so it ends when the last of them has ended, however that was: the daemon outlives neither a SIGKILL nor a
second Ctrl-C. It is no part of the terminal's process group, and signals to all processes of a batch job do not end it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]

_PID = "nvidia-cuda-mps-control.pid"
"""The file of the daemon in the folder of its pipes, which it removes when it ends."""

_NOT_READY = "CUDA_ERROR_MPS_SERVER_NOT_READY"
_QUIT = 10.0
"""Seconds in which the daemon must quit before it is killed."""


def main(control: str, folder: Path, seconds: float, probe: str) -> None:
    """Start the daemon, tell on standard output what went wrong, wait for the end of standard input, and stop it.

    Args:
        control: the path of `nvidia-cuda-mps-control`.
        folder: the folder of the pipes and logs, which is removed at the end.
        seconds: in which the daemon must have started.
        probe: the Python program that uses CUDA once; it ends with the name of an error if it could not. `True` on
            its standard output says that CUDA goes through the daemon.
    """
    for each in ("SIGINT", "SIGTERM", "SIGHUP"):  # a handler, because programs that are started inherit SIG_IGN
        signal.signal(signal.Signals[each], lambda number, frame: None)
    daemon = _Daemon(control, folder, seconds)
    try:
        wrong = daemon.start() or daemon.use(probe)
        with contextlib.suppress(OSError):  # the training is gone
            os.write(1, f"{' '.join(wrong.split())}\n".encode())
        if not wrong:
            while os.read(0, 4096):
                pass
    finally:
        daemon.stop()
        shutil.rmtree(folder, ignore_errors=True)


class _Daemon:
    """The daemon of a folder."""

    def __init__(self, control: str, folder: Path, seconds: float) -> None:
        """Start nothing yet; it must have started so many `seconds` from now."""
        self._control = control
        self._folder = folder
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._started = False

    def start(self) -> str:
        """Start it; returns why it did not, or nothing."""
        code, text = self._run([self._control, "-d"])
        if code is None:
            return self._late()
        if code:
            return text or f"{Path(self._control).name} -d ended with exit code {code}"
        self._started = True
        return ""

    def use(self, probe: str) -> str:
        """Create a CUDA context as the workers will, so that its server runs; returns why it could not, or nothing."""
        while True:
            code, text = self._run([sys.executable, "-I", "-S", "-c", probe])
            if code is None:
                return self._late()
            if code == 0:
                break
            if _NOT_READY not in text:
                return f"CUDA cannot use it: {text or f'exit code {code}'}"
            if time.monotonic() > self._deadline:
                return self._late()
            time.sleep(0.2)
        servers = self._run([self._control], "get_server_list\n")
        if text == "True" or (servers[0] == 0 and servers[1]):
            return ""
        return "it started, but CUDA does not use it"

    def stop(self) -> None:
        """Let it quit if it was started; kill it if it does not."""
        if not self._started:
            return
        self._deadline = time.monotonic() + _QUIT
        self._run([self._control], "quit\n")
        pid = self._folder / _PID
        for each in (0, signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(OSError, ValueError):  # it has ended
                number = int(pid.read_text())
                os.kill(number, each)
                until = time.monotonic() + 2
                while time.monotonic() < until and pid.exists():
                    os.kill(number, 0)
                    time.sleep(0.02)

    def _run(self, command: Sequence[str], stdin: str = "") -> tuple[int | None, str]:
        """The exit code, None if it took too long, and the last line that was written.

        What is written goes into a file: a daemon would keep a pipe open, so that reading it would not end.
        """
        said = self._folder / "said"
        with said.open("wb") as out:
            process = subprocess.Popen(  # noqa: S603 - NVIDIA's program, found on PATH, or Python
                command, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            process.communicate(stdin.encode(), timeout=max(0.1, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with what it has started
            process.wait()
            return None, ""
        lines = [line.strip() for line in said.read_text(errors="replace").splitlines() if line.strip()]
        return process.returncode, lines[-1] if lines else ""

    def _late(self) -> str:
        return f"it did not start within {self._seconds:g} seconds"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4])
