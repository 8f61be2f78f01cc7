"""Runs the command line in a forked process, so that a command takes parts of a second."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .shim import Shim

SECONDS = 120.0
"""The time after which a command counts as hanging."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    """Its exit code; negative for the signal that killed it."""
    output: str
    seconds: float

    @property
    def traceback(self) -> bool:
        """Whether it printed a traceback."""
        return "Traceback (most recent call last)" in self.output

    @property
    def message(self) -> str:
        """The line of its error."""
        lines = [line for line in self.output.splitlines() if "error:" in line or "cannot" in line]
        return lines[-1].strip() if lines else ""


def warm_up() -> None:
    """Import what commands import, once for all of the processes."""
    import matplotlib.figure
    import sklearn.datasets

    import genprior.bench.bench
    import genprior.cli.app
    import genprior.cli.figure
    import genprior.cli.train
    import genprior.launch.train
    import genprior.runs.export
    import genprior.runs.figures
    from genprior.registry import installed

    assert matplotlib.figure and sklearn.datasets and genprior.bench.bench
    installed()
    gc.freeze()


def import_modules(names: Sequence[str]) -> None:
    """Import what a command has imported when it was needed, such as what torch needs for the first optimiser."""
    gc.unfreeze()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            with contextlib.suppress(Exception):  # some modules only stand for others
                importlib.import_module(name)
    gc.freeze()


def start(
    arguments: Sequence[object],
    log: Path,
    shim: Shim | None = None,
    before: Callable[[], None] | None = None,
    separate: bool = False,
) -> int:
    """Start a command in a new process; returns the number of the process.

    Args:
        arguments: of `genprior`.
        log: the file for what it prints.
        shim: is installed there; the file `log` with the ending `.operations` lists what it counted, and `.modules` the
            modules that were imported.
        before: is called there first.
        separate: start a new Python instead of a fork, for a command that starts processes of its own.
    """
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # no process outlives the test
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdin = open(os.devnull)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        signal.setitimer(signal.ITIMER_REAL, 5 * SECONDS if separate else SECONDS)
        sys.argv = ["genprior", *map(str, arguments)]
        from genprior.cli.app import app

        if before is not None:
            "".encode("utf-8-sig")  # codecs are files of Python, which another user may not be able to read later
            before()
        if separate:
            os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
            os.execv(sys.executable, [sys.executable, "-m", "genprior", *sys.argv[1:]])
        if shim is not None:
            shim.install()
        try:
            app([str(each) for each in arguments], prog_name="genprior")
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
            if shim is not None and not shim.at:
                with os.fdopen(os.dup(1), "w"):
                    log.with_suffix(".operations").write_text("\n".join(shim.done))
                    log.with_suffix(".modules").write_text("\n".join(sys.modules))
    except BaseException:
        with contextlib.suppress(Exception):
            traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    raise AssertionError  # for type checkers: the process has ended


def wait(process: int, log: Path, began: float) -> Ended:
    """Wait for a process."""
    _, status = os.waitpid(process, 0)
    text = log.read_bytes().decode("utf-8", "replace") if log.exists() else ""
    return Ended(os.waitstatus_to_exitcode(status), text, time.monotonic() - began)


def run(
    arguments: Sequence[object],
    log: Path,
    shim: Shim | None = None,
    before: Callable[[], None] | None = None,
    separate: bool = False,
) -> Ended:
    """Run a command to its end; see `start`."""
    began = time.monotonic()
    return wait(start(arguments, log, shim, before, separate), log, began)


def workers_end(home: Path, seconds: float = 60.0) -> bool:
    """Wait until no process has a folder as its current one; False if one has after that time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        here = 0
        for link in Path("/proc").glob("[0-9]*/cwd"):
            with contextlib.suppress(OSError):
                here += os.readlink(link) == str(home)
        if not here:
            return True
        time.sleep(0.1)
    return False


def at_home(home: Path, *others: Callable[[], None]) -> Callable[[], None]:
    """For `before`: a folder is the current one and holds the cache; then call others."""

    def enter() -> None:
        os.chdir(home)
        os.environ["GENPRIOR_DATA"] = str(home / "cache")
        for other in others:
            other()

    return enter


def small_files(limit: int) -> Callable[[], None]:
    """For `before`: no file can grow beyond a number of bytes, as on a full disk."""

    def restrict() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return restrict


def as_nobody() -> None:
    """For `before`: a user who may not write; root may write anywhere."""
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
