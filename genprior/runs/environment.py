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

from genprior.version import __version__

__all__ = ["cores", "device_name", "surroundings"]


def surroundings(device: torch.device, precision: str) -> dict[str, Any]:
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
            "precision": precision,
            "platform": platform.platform(),
        },
        "command": sys.argv,
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def device_name(device: torch.device) -> str:
    """The name of the GPU, or of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
