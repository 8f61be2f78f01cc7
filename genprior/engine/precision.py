"""The precision of the forward passes; `auto` is what a few timed convolutions say about this processor."""

from __future__ import annotations

import functools
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from genprior.errors import ScoreError
from genprior.storage.cache import cache_folder, content_hash, made_once
from genprior.storage.files import whole_file

__all__ = ["WORTH", "Precision", "choose_precision", "device_name", "speed_of_bf16", "time_convolutions"]

WORTH = 1.1
"""`auto` is bf16 if it is at least this many times as fast as fp32: for less, its rounding is not worth it."""

REPEATS = 8
"""Timed steps in each precision; the fastest counts, which other work on the machine disturbs least."""

_BATCH, _WIDTH, _SIDE = 64, 16, 16


class Precision(NamedTuple):
    """The precision of a run."""

    dtype: torch.dtype
    """That of the forward passes."""
    bf16_speed: float | None
    """How many times as fast as fp32 convolutions in bf16 were on this processor; None if not measured."""

    @property
    def name(self) -> str:
        """`float32` or `bfloat16`, as `run.json` records it."""
        return str(self.dtype).removeprefix("torch.")


def choose_precision(
    requested: str,
    device: torch.device,
    *,
    recorded: dict[str, Any] | None = None,
    measure: Callable[[], float] | None = None,
) -> Precision:
    """The precision of the forward passes.

    `auto` is bf16 on a GPU that multiplies in it; on a CPU, if convolutions are `WORTH` times as fast in it.

    Args:
        requested: `auto`, `fp32` or `bf16`.
        device: where the run computes.
        recorded: the hardware in the run.json of a run that is resumed; `auto` keeps its precision.
        measure: returns the speed of bf16 relative to fp32 on this CPU; `speed_of_bf16` by default.
    """
    if requested != "auto":
        return Precision(torch.bfloat16 if requested == "bf16" else torch.float32, None)
    before = {"bfloat16": torch.bfloat16, "float32": torch.float32}.get(str((recorded or {}).get("precision")))
    if before is not None:
        speed = (recorded or {}).get("bf16_speed")
        return Precision(before, speed if isinstance(speed, float) else None)
    if device.type != "cpu":
        able = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return Precision(torch.bfloat16 if able else torch.float32, None)
    speed = (measure or speed_of_bf16)()
    return Precision(torch.bfloat16 if speed >= WORTH else torch.float32, speed)


def speed_of_bf16(time_steps: Callable[[], tuple[float, float]] | None = None) -> float:
    """How many times as fast as fp32 convolutions are in bf16 on this processor, measured once for each machine.

    The number is kept in the cache folder for this processor and version of torch. Where that cannot be written, each
    process measures.

    Args:
        time_steps: returns the seconds of a step in fp32 and in bf16; `time_convolutions` by default.
    """
    return _speed(time_steps or time_convolutions, device_name(torch.device("cpu")), torch.__version__, cache_folder())


@functools.cache
def _speed(time_steps: Callable[[], tuple[float, float]], processor: str, version: str, folder: Path) -> float:
    measured: list[float] = []

    def make() -> float:
        if not measured:
            single, half = time_steps()
            measured.append(round(single / half, 3) if half > 0 else 1.0)
        return measured[0]

    def write(path: Path, speed: float) -> None:
        facts = {"bf16_speed": speed, "processor": processor, "torch": version}
        with whole_file(path) as partial:
            partial.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")

    try:
        return made_once(folder / "precision" / f"{content_hash(processor, version)}.json", _read, make, write)
    except ScoreError:  # the cache folder cannot be written
        return make()


def _read(path: Path) -> float | None:
    try:
        speed = json.loads(path.read_text(encoding="utf-8"))["bf16_speed"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return float(speed) if isinstance(speed, float | int) and 0 < speed < float("inf") else None


def time_convolutions(repeats: int = REPEATS) -> tuple[float, float]:
    """Seconds of a small convolutional network's forward and backward pass, in fp32 and in bf16.

    Its convolutions are of the kind of the standard networks: few channels, batch normalisation, channels last. It is
    timed on one thread, in processor time and in turns, so that neither other work on the machine nor the number of
    rows that are trained side by side decides the precision of a run.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            network, x = _network(), torch.randn(_BATCH, _WIDTH, _SIDE, _SIDE)
            x = x.to(memory_format=torch.channels_last)
            times: dict[bool, list[float]] = {False: [], True: []}
            for repeat in range(repeats + 1):
                for half, seconds in times.items():
                    took = _timed_step(network, x, half)
                    if repeat:  # the first of each is a warm-up
                        seconds.append(took)
    finally:
        torch.set_num_threads(threads)
    return min(times[False]), min(times[True])


def _network() -> nn.Module:
    w = _WIDTH
    down = [nn.Conv2d(w, 2 * w, 3, stride=2, padding=1), nn.BatchNorm2d(2 * w), nn.ReLU()]
    same = [nn.Conv2d(2 * w, 4 * w, 3, padding=1), nn.BatchNorm2d(4 * w), nn.ReLU()]
    up = [nn.ConvTranspose2d(4 * w, 2 * w, 4, stride=2, padding=1)]
    return nn.Sequential(*down, *same, *up).to(memory_format=torch.channels_last)


def _timed_step(network: nn.Module, x: Tensor, half: bool) -> float:
    began = time.process_time()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        y = network(x)
    y.float().square().mean().backward()
    return time.process_time() - began


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
