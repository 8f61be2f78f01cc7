"""Runs one input: only genprior's own errors or success, in time, and nothing written outside of a folder."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from genprior.errors import GenpriorError

SECONDS = 20.0
"""The deadline of one input in seconds of this process, about a hundred times what the slowest takes."""
_WAITING = 10.0
"""So many times the deadline may pass on the clock, where a process waits or the machine is busy."""

_allowed: list[str] = []
_outside: list[str] = []
_hooked: list[bool] = []


class Hang(BaseException):
    """The deadline has passed."""


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Note each path outside of the allowed folders that is opened for writing, renamed, made or removed."""
    if not _allowed:
        return
    if event == "open":
        path, mode, flags = arguments
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) or (mode and set(mode) & set("wax+"))
        paths = [path] if writes else []
    elif event in ("os.rename", "os.link", "os.symlink", "shutil.move"):
        paths = list(arguments[:2])
    elif event in ("os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod"):
        paths = [arguments[0]]
    elif event in ("os.system", "subprocess.Popen", "os.exec", "pickle.find_class", "socket.connect"):
        _outside.append(f"{event} {arguments[:1]!r}")
        return
    else:
        return
    for path in paths:
        if isinstance(path, str | bytes | os.PathLike):
            real = os.path.realpath(os.fsdecode(path))
            if not any(real == place or real.startswith(place + os.sep) for place in _allowed) and real != os.devnull:
                _outside.append(f"{event} {real}")


@contextlib.contextmanager
def guarded(*folders: Path, seconds: float = SECONDS) -> Iterator[None]:
    """Raise `AssertionError` if the block writes outside of the folders, and `Hang` if it takes too long."""
    if not _hooked:
        sys.addaudithook(_watch)
        _hooked.append(True)

    def late(*_: object) -> None:
        raise Hang(f"no end after {seconds:.0f} s")

    timers = {signal.ITIMER_PROF: signal.SIGPROF, signal.ITIMER_REAL: signal.SIGALRM}
    previous = {number: signal.signal(number, late) for number in timers.values()}
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds * _WAITING)
    _outside.clear()
    _allowed[:] = [os.path.realpath(folder) for folder in folders]
    try:
        yield
    finally:
        _allowed.clear()
        for timer in timers:
            signal.setitimer(timer, 0)
        for number, handler in previous.items():
            signal.signal(number, handler)
    assert not _outside, f"touched outside of its folder: {_outside[:5]}"


def outcome(run: Callable[[], object], *folders: Path, seconds: float = SECONDS) -> str:
    """What an input ends in: its message if it is refused as it should be, else `ok`.

    Raises:
        Exception: anything that is no `GenpriorError`.
        AssertionError: the message is empty or a wall of text, or something was touched outside of the folders.
        Hang: the deadline has passed.
    """
    with (
        guarded(*folders, seconds=seconds),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        try:
            run()
        except GenpriorError as error:
            text = str(error)
            assert text.strip() and error.exit_code in (1, 2), (text, error.exit_code)
            return text
    return "ok"


def signature(error: BaseException) -> str:
    """The kind of an error and the innermost line of genprior in its traceback, by which failures are counted."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "genprior" in frame.filename]
    own = [frame for frame in frames if f"{os.sep}tests{os.sep}" not in frame.filename]
    place = f"{Path(own[-1].filename).name}:{own[-1].name}" if own else "-"
    return f"{type(error).__name__} at {place}"
