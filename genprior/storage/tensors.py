"""Files of tensors, in the format safetensors: what the system answers is an `OSError` that says so."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

__all__ = ["opened_tensors", "read_tensors"]

_ERRNO = re.compile(r"\((?:os error )?(\d+)\)\s*$")
"""The end of a message of a compiled library that names the number of the system's error."""


@contextlib.contextmanager
def opened_tensors(path: Path, device: torch.device | str = "cpu") -> Iterator[Any]:
    """An open safetensors file, as `safetensors.safe_open` gives it, with the errors of `open`.

    safetensors says "no such file" of a file that the system does not open for any other reason, and torch raises a
    `RuntimeError` where the file cannot be mapped into memory.

    Args:
        path: the file.
        device: where its tensors are put.

    Raises:
        OSError: the system does not open, read or map it; `errno` says why (`FileNotFoundError` only if it is absent).
        SafetensorError: it is damaged, or no such file.
    """
    with path.open("rb"):  # the system's own answer
        pass
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(safe_open(path, framework="pt", device=str(device)))
        except OSError as error:
            if error.errno is not None:
                raise
            raise _system_error(str(error), path) from error
        except RuntimeError as error:
            if not _ERRNO.search(str(error)):
                raise
            raise _system_error(str(error), path) from error
        yield file


def read_tensors(path: Path, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """All tensors of a file, by their names.

    Raises:
        OSError: the system does not open, read or map it.
        SafetensorError: it is damaged, or no such file.
    """
    with opened_tensors(path, device) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping


def _system_error(message: str, path: Path) -> OSError:
    found = _ERRNO.search(message)
    number = int(found[1]) if found else errno.EIO
    return OSError(number, os.strerror(number), str(path))
