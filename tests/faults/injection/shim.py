"""Makes the k-th operation on files of a process fail, or kill the process; only for files below given folders."""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OPERATIONS = ("open", "read", "write", "fsync", "rename", "close", "unlink", "mkdir")
ERRORS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EACCES": errno.EACCES}
KILL = "SIGKILL"


@dataclass
class Shim:
    """Counts the operations of this process on files below some folders, and lets one of them fail."""

    folders: tuple[str, ...]
    at: int = 0
    """The operation that fails, counted from 1; 0 for none."""
    fault: str = KILL
    done: list[str] = field(default_factory=list)
    """The operations so far, each as `write step-00000003.json`."""
    _files: dict[int, str] = field(default_factory=dict)

    def watches(self, path: object) -> bool:
        """Whether operations on a path are counted."""
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        return os.path.abspath(os.fsdecode(path)).startswith(self.folders)

    def reached(self, operation: str, path: object) -> bool:
        """Count an operation, and say whether it is the one that fails."""
        self.done.append(f"{operation} {os.path.basename(os.fsdecode(path))}")  # type: ignore[arg-type]
        return len(self.done) == self.at

    def fail(self, path: object) -> None:
        """Kill the process, or raise what the system would."""
        if self.fault == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        number = ERRORS[self.fault]
        raise OSError(number, os.strerror(number), os.fsdecode(path))  # type: ignore[arg-type]

    def install(self) -> None:
        """Replace the functions of this process through which Python and genprior reach files."""
        shim = self

        class File(io.FileIO):
            """A file that counts; a failing write has written half before."""

            def write(self, data: Any) -> int:
                if shim.reached("write", self.name):
                    super().write(bytes(data)[: len(data) // 2])
                    shim.fail(self.name)
                return super().write(data)

            def readinto(self, buffer: Any) -> int:
                if shim.reached("read", self.name):
                    shim.fail(self.name)
                return super().readinto(buffer)

            def readall(self) -> bytes:
                if shim.reached("read", self.name):
                    shim.fail(self.name)
                return super().readall()

            def close(self) -> None:
                if self.closed:
                    return
                failing = shim.reached("close", self.name)
                super().close()
                if failing:
                    shim.fail(self.name)

        real_open, real_os_open = io.open, os.open

        def opened(file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
                   newline: Any = None, closefd: bool = True, opener: Any = None) -> Any:  # fmt: skip
            if opener is not None or not shim.watches(file):
                return real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
            if shim.reached("open", file):
                shim.fail(file)
            raw = File(os.fsdecode(file), mode.replace("b", "").replace("t", ""))
            if buffering == 0:
                return raw
            kind = io.BufferedRandom if "+" in mode else io.BufferedReader if "r" in mode else io.BufferedWriter
            buffered = kind(raw)
            if "b" in mode:
                return buffered
            text = io.TextIOWrapper(buffered, encoding, errors, newline, buffering == 1)
            text.mode = mode
            return text

        def os_opened(path: Any, *args: Any, **kwargs: Any) -> int:
            if not shim.watches(path):
                return real_os_open(path, *args, **kwargs)
            if shim.reached("open", path):
                shim.fail(path)
            handle = real_os_open(path, *args, **kwargs)
            shim._files[handle] = os.fsdecode(path)
            return handle

        builtins.open = io.open = opened
        os.open = os_opened
        self._wrap_handles()
        for name in ("rename", "replace", "unlink", "remove", "mkdir"):
            kind = {"replace": "rename", "remove": "unlink"}.get(name, name)
            setattr(os, name, self._wrapped(kind, getattr(os, name)))
        self._wrap_safetensors()

    def _wrap_handles(self) -> None:
        real_fsync, real_close = os.fsync, os.close

        def fsync(handle: Any) -> None:
            path = self._files.get(handle) if isinstance(handle, int) else None
            if path is not None and self.reached("fsync", path):
                self.fail(path)
            real_fsync(handle)

        def close(handle: int) -> None:
            path = self._files.pop(handle, None)
            failing = path is not None and self.reached("close", path)
            real_close(handle)
            if failing:
                self.fail(path)

        os.fsync, os.close = fsync, close

    def _wrapped(self, kind: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(path: Any, *args: Any, **kwargs: Any) -> Any:
            if self.watches(path) and self.reached(kind, path):
                self.fail(path)
            return real(path, *args, **kwargs)

        return wrapper

    def _wrap_safetensors(self) -> None:
        """Files of tensors are written by compiled code, which raises an exception of its own."""
        import safetensors
        import safetensors.torch

        real = safetensors.torch.serialize_file

        def serialize(tensors: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
            if not self.watches(path) or not self.reached("write", path):
                return real(tensors, path, *args, **kwargs)
            real(tensors, path, *args, **kwargs)
            os.truncate(path, Path(path).stat().st_size // 2)
            if self.fault == KILL:
                self.fail(path)
            raise safetensors.SafetensorError(f"I/O error: {os.strerror(ERRORS[self.fault])}")

        safetensors.torch.serialize_file = serialize
