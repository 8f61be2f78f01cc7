"""Lets worker processes use one GPU at the same time, by NVIDIA's MPS; without it they take turns.

A GPU runs kernels of one process at a time. MPS (Multi-Process Service) is a daemon through which processes of one user
share a context. It needs no settings of the GPU and no rights; the daemon here is of this training alone.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from genprior.errors import RecipeError
from genprior.launch import mps_keeper
from genprior.runs.environment import MPS_CONTROL, MPS_PIPES, choose_device, mps_folder

__all__ = ["Sharing", "sharing", "switched_off"]

SWITCH = "GENPRIOR_MPS"
"""The environment variable that is `off` where no daemon is to be started."""
STARTS_WITHIN = 10.0
"""Seconds in which the daemon must start, and CUDA must use it."""
ENDS_WITHIN = 20.0
"""Seconds for which the end of the daemon is waited for, which is killed before."""

PROBE = """
import ctypes, sys
try:
    cuda = ctypes.CDLL("libcuda.so.1")
except OSError as error:
    sys.exit(str(error))
device, shared, context, name = ctypes.c_int(), ctypes.c_int(), ctypes.c_void_p(), ctypes.c_char_p()
code = (
    cuda.cuInit(0)
    or cuda.cuDeviceGet(ctypes.byref(device), 0)
    or cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
)
if code:
    known = cuda.cuGetErrorName(code, ctypes.byref(name)) == 0
    sys.exit(name.value.decode() if known else f"CUDA error {code}")
unknown = cuda.cuDeviceGetAttribute(ctypes.byref(shared), 133, device)  # CU_DEVICE_ATTRIBUTE_MPS_ENABLED
print(not unknown and shared.value == 1)
"""
"""A program that creates a CUDA context and prints whether it is shared by MPS; torch would take seconds to import."""


@dataclass(frozen=True)
class Sharing:
    """How worker processes use their device together."""

    device: str
    """The device, as workers are to be told."""
    takes_turns: bool = False
    """Whether only one of them computes at a time."""
    described: str | None = None
    """The reason if they take turns, the daemon if they share a GPU, and None where there is nothing to say."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """The environment variables of the workers, from their start."""
    lifeline: Connection | None = None
    """What the workers hold for as long as they need the daemon."""

    def line(self, workers: int, *, fewer: bool) -> str | None:
        """The line for the user; None where there is nothing to say.

        Args:
            workers: the number of worker processes.
            fewer: whether only one row is trained at a time for this reason.
        """
        if self.described is None:
            return None
        if not self.takes_turns:
            return f"{workers} processes share the GPU by MPS, {self.described}"
        if fewer:
            return f"one row is trained at a time: processes take turns on the GPU, because {self.described}"
        return f"{workers} processes take turns on the GPU, which is no faster than one, because {self.described}"


@contextlib.contextmanager
def sharing(requested: str, workers: int) -> Iterator[Sharing]:
    """How workers use a device together; an MPS daemon runs inside the block where they need one and can have it.

    A daemon that the environment names, or that runs in CUDA's default folder, is used as it is. Otherwise one is
    started, and stopped when this process and the workers that hold its lifeline have ended or left the block.

    Args:
        requested: the device of all workers: `auto`, `cpu` or `cuda`.
        workers: the number of worker processes.
    """
    if workers < 2 or (device := choose_device(requested)).type != "cuda":
        yield Sharing(requested)
        return
    found = mps_folder()
    if found is not None:
        yield Sharing(requested, described=f"through the daemon in {found}")
        return
    control = shutil.which(MPS_CONTROL)
    reason = None
    if os.environ.get(MPS_PIPES):
        reason = f"{MPS_PIPES}={os.environ[MPS_PIPES]} names a folder without an MPS daemon"
    elif switched_off():
        reason = f"{SWITCH}=off"
    elif control is None:
        reason = f"{MPS_CONTROL} is not on the PATH"
    if reason is not None or control is None:
        yield Sharing(requested, takes_turns=True, described=reason)
        return
    with _own_daemon(os.path.abspath(control), device, requested) as shared:
        yield shared


def switched_off() -> bool:
    """Whether the environment variable `GENPRIOR_MPS` says that no daemon is to be started.

    Raises:
        RecipeError: it has another value than `off` and `auto`.
    """
    text = os.environ.get(SWITCH, "").strip().lower()
    if text not in ("", "auto", "off"):
        raise RecipeError(
            f"{SWITCH} = {text} is neither off nor auto; set {SWITCH}=off to start no MPS daemon for rows side by side "
            "on a GPU, or unset it"
        )
    return text == "off"


@contextlib.contextmanager
def _own_daemon(control: str, device: torch.device, requested: str) -> Iterator[Sharing]:
    """A daemon of this training, in a folder that nobody else may read."""
    only = _only(device)
    end, lifeline = multiprocessing.Pipe(duplex=False)
    with lifeline:
        try:
            # The path of a socket has at most 107 bytes, and TMPDIR may be long.
            folder = Path(tempfile.mkdtemp(prefix="genprior-mps-", dir="/tmp"))  # noqa: S108
            (folder / "logs").mkdir()
            variables = {MPS_PIPES: str(folder), "CUDA_MPS_LOG_DIRECTORY": str(folder / "logs"), **only}
            keeper = _keeper(control, folder, end, variables)
        except OSError as error:
            yield Sharing(requested, takes_turns=True, described=f"MPS cannot be started: {error}")
            return
        finally:
            end.close()
        try:
            answer = _first_line(keeper)
            if answer == "\n":
                place = f"a daemon of its own in {folder}"
                yield Sharing("cuda" if only else requested, False, place, variables, lifeline)
            else:
                reason = answer.strip() or "the process that starts it ended"
                yield Sharing(requested, takes_turns=True, described=f"MPS cannot be started: {reason}")
        finally:
            lifeline.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                keeper.wait(ENDS_WITHIN)


def _keeper(control: str, folder: Path, end: Connection, variables: Mapping[str, str]) -> subprocess.Popen[str]:
    """The process that starts the daemon, and stops it when the other end of this pipe is closed."""
    return subprocess.Popen(  # noqa: S603 - its own program
        [sys.executable, "-I", "-S", mps_keeper.__file__, control, str(folder), str(STARTS_WITHIN), PROBE],
        stdin=end.fileno(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **variables},
        cwd="/",
        start_new_session=True,
        text=True,
    )


def _first_line(keeper: subprocess.Popen[str]) -> str:
    """A line end if the daemon runs, the reason and a line end if not, and nothing if the process ended before."""
    if keeper.stdout is None:
        return ""
    with keeper.stdout as answer:
        return answer.readline()


def _only(device: torch.device) -> dict[str, str]:
    """The variable that shows only this GPU to the daemon and the workers; nothing where they see no other.

    The daemon numbers the GPUs that it sees anew, so a number would name another one, or none, in the workers.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if (visible is None and torch.cuda.device_count() < 2) or (visible or "").startswith("MIG-"):
        return {}
    return {"CUDA_VISIBLE_DEVICES": f"GPU-{torch.cuda.get_device_properties(device).uuid}"}
