"""Runs a command under strace, which counts its system calls and lets one of them fail or kill the process."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import process

CALLS = (
    "openat", "read", "pread64", "write", "pwrite64", "fsync", "ftruncate", "rename", "renameat2", "unlink", "unlinkat",
    "mkdir", "close", "newfstatat", "chmod", "flock", "getdents64", "lseek", "mmap",
)  # fmt: skip
ERRORS = ("EIO", "ENOSPC", "EACCES", "ENOLCK", "SIGKILL")
_LINE = re.compile(r"(?P<process>\d+) +(?P<call>\w+)\((?P<rest>.*)")
_COMPLETED = re.compile(r'rename\w*\(.*step-(\d{8})\.json"\) = 0')


@dataclass(frozen=True)
class Call:
    """A system call of a command."""

    name: str
    count: int
    """The number of calls of this name up to this one."""
    path: str
    """The file, or what else strace prints of the call."""


def available() -> bool:
    """Whether strace is installed and may trace another process."""
    if shutil.which("strace") is None:
        return False
    sleeper = subprocess.Popen(["sleep", "30"])
    try:
        command = ["strace", "-p", str(sleeper.pid)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as tracer:
            attached = "attached" in tracer.stderr.readline()  # type: ignore[union-attr]
            tracer.terminate()
        return attached
    finally:
        sleeper.kill()
        sleeper.wait()


def run(
    arguments: Sequence[object], log: Path, home: Path, fault: tuple[Call, str] | None = None
) -> tuple[process.Ended, list[str]]:
    """Run a command in the folder `home`; returns how it ended, and the lines of strace.

    Args:
        arguments: of `genprior`.
        log: the file for what it prints; the file with the ending `.strace` beside it is that of strace.
        home: its current folder.
        fault: the call that fails, and the error that it returns, or SIGKILL.
    """
    began = time.monotonic()
    waiting, go = os.pipe()

    def wait_for_strace() -> None:
        os.close(go)
        os.read(waiting, 1)
        os.close(waiting)

    number = process.start(arguments, log, before=process.at_home(home, wait_for_strace))
    os.close(waiting)
    lines = log.with_suffix(".strace")
    command = ["strace", "-f", "-y", "-s", "0", "-o", str(lines), "-e", f"trace={','.join(CALLS)}", "-p", str(number)]
    if fault is not None:
        call, error = fault
        how = "signal=KILL" if error == "SIGKILL" else f"error={error}"
        command[1:1] = ["-e", f"inject={call.name}:{how}:when={call.count}"]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert "attached" in tracer.stderr.readline()  # type: ignore[union-attr]
    os.write(go, b"x")
    os.close(go)
    ended = process.wait(number, log, began)
    tracer.communicate(timeout=60)
    return ended, lines.read_text(encoding="utf-8", errors="replace").splitlines()


def calls_below(lines: Sequence[str], home: Path) -> list[Call]:
    """The system calls of the first process on files below a folder."""
    counts: Counter[str] = Counter()
    found = []
    first = _first_process(lines)
    for match in map(_LINE.match, lines):
        if match is None or match["process"] != first or match["call"] not in CALLS:
            continue
        counts[match["call"]] += 1
        if f"{home}/" in match["rest"]:
            found.append(Call(match["call"], counts[match["call"]], match["rest"].partition(" = ")[0][:200]))
    return found


def struck(lines: Sequence[str], home: Path) -> bool:
    """Whether the fault met a file below a folder, and not one of Python or the terminal."""
    injected = [line for line in lines if "INJECTED" in line]
    last = injected or [line for line in lines if _LINE.match(line)][-1:]  # a killed process has no line for it
    return any(f"{home}/" in line for line in last)


def completed(lines: Sequence[str], home: Path) -> list[int]:
    """The steps of the checkpoints below a folder, and not of rehearsals, that were completed before the fault."""
    before: list[int] = []
    for line in lines:
        if "INJECTED" in line:
            break
        if f"{home}/" in line:
            before += [int(step) for step in _COMPLETED.findall(line)]
    return before


def _first_process(lines: Sequence[str]) -> str:
    return next(match["process"] for match in map(_LINE.match, lines) if match is not None)


def full_folder(home: Path, kilobytes: int) -> Callable[[int], None] | None:
    """Mount a file system of a size in an empty folder; returns what resizes it, None where that is not allowed.

    Unmount it with `umount`.
    """
    if shutil.which("mount") is None or os.getuid() != 0:
        return None
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(home)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        return None

    def resize(kilobytes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(home)], check=True, capture_output=True)

    return resize
