"""Versions, hardware, command and date, for `run.json`."""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from genprior.engine.device import choose_device
from genprior.engine.precision import Precision, device_name
from genprior.version import __version__

__all__ = ["MPS_CONTROL", "MPS_PIPES", "choose_device", "cores", "device_name", "mps_folder", "surroundings"]

MPS_CONTROL = "nvidia-cuda-mps-control"
"""The program that starts and stops NVIDIA's MPS daemon, by which processes use a GPU at the same time."""
MPS_PIPES = "CUDA_MPS_PIPE_DIRECTORY"
"""The environment variable with the folder in which CUDA looks for the daemon."""
_MPS_FOLDER = "/tmp/nvidia-mps"  # noqa: S108 - CUDA's default


def surroundings(device: torch.device, precision: Precision) -> dict[str, Any]:
    """Versions, hardware, command and date of this process, for `run.json`."""
    return {
        "versions": {
            "genprior": __version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("torch", "torchvision", "torch-fidelity")},
        },
        "hardware": {
            "device": device_name(device),
            "threads": torch.get_num_threads(),
            "precision": precision.name,
            **({} if precision.bf16_speed is None else {"bf16_speed": precision.bf16_speed}),
            **({"mps": True} if device.type == "cuda" and mps_folder() is not None else {}),
            "platform": platform.platform(),
        },
        "command": sys.argv,
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def mps_folder() -> Path | None:
    """The folder of the MPS daemon that a process with this environment uses; None if none runs there."""
    folder = Path(os.environ.get(MPS_PIPES) or _MPS_FOLDER)
    return folder if (folder / f"{MPS_CONTROL}.pid").exists() else None  # the daemon removes it when it ends
