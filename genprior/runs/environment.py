"""Versions, hardware, command and date, for `run.json`."""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib import metadata
from typing import Any

import torch

from genprior.engine.precision import Precision, device_name
from genprior.version import __version__

__all__ = ["cores", "device_name", "surroundings"]


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
            "platform": platform.platform(),
        },
        "command": sys.argv,
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
