"""Training speed, compared with a hand-written loop and with pythae: `python benchmarks/speed.py --help`.

Every candidate runs in its own process, so that none inherits another's memory allocator, and reports its own CPU time
and peak memory. The processes take turns; a ratio is taken within each round, and the median of the ratios is quoted
with its quartiles. FLOP are counted (`torch.utils.flop_counter`: convolutions and matrix products, forward and
backward), and the peak is a matrix product's, measured in the same process and precision.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["alternate", "main", "quartiles"]

ANSWER = "answer "


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure as the command line says, print tables, and write JSON."""
    parser = _parser()
    options = parser.parse_args(arguments)
    from candidates import CANDIDATES as OF_TABLE_3
    from model_candidates import MODELS

    CANDIDATES = (*OF_TABLE_3, *MODELS)
    unknown = {*(options.only or ()), *([options.serve] if options.serve else [])} - set(CANDIDATES)
    if unknown:
        parser.error(f"there is no candidate '{min(unknown)}'; possible: {', '.join(CANDIDATES)}")
    if options.serve:
        _serve(options.serve, options)
        return 0
    names = [name for name in CANDIDATES if name in (options.only or CANDIDATES)]
    missing = [name for name in names if "pythae" in name and importlib.util.find_spec("pythae") is None]
    if missing and options.only:
        parser.error(f"'{missing[0]}' needs pythae: pip install -e \".[benchmarks]\"")
    names = [name for name in names if name not in missing]
    rounds, steps = (1, 2) if options.quick else (options.rounds, options.steps)
    result: dict[str, Any] = {
        "setting": {
            "width": options.width,
            "channels": options.channels,
            "batch": 64,
            "side": 32,
            "device": options.device,
        },
        "rounds": rounds,
        "steps": steps,
        "machine": _machine(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "left_out": missing,
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    result |= _measure(names, options, rounds, steps)
    if not options.no_startup:
        from startup import measure

        result["startup_seconds"] = measure(1 if options.quick else 5)
    print(_tables(result))
    if options.out:
        Path(options.out).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=16, choices=(16, 32, 64), help="channels of the first convolution")
    parser.add_argument("--channels", type=int, default=3, choices=(1, 3), help="1 for grey images, 3 for RGB")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="cuda is timed by the wall clock")
    parser.add_argument("--rounds", type=int, default=15, help="rounds, in each of which every candidate runs once")
    parser.add_argument("--steps", type=int, default=3, help="training steps of a candidate in a round")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="candidates to run; all by default")
    parser.add_argument("--quick", action="store_true", help="one round of two steps, as a check")
    parser.add_argument("--no-startup", action="store_true", help="leave the start-up times out")
    parser.add_argument("--out", help="the JSON file to write")
    parser.add_argument("--serve", metavar="NAME", help="run one candidate; used by this script itself")
    return parser


def alternate(loops: dict[str, Callable[[int], float]], rounds: int, steps: int) -> dict[str, list[float]]:
    """Seconds a step of each loop in each round; the loop that begins a round changes from round to round.

    Args:
        loops: by name, functions that take that many steps and return the seconds that they took.
        rounds: how often each loop runs.
        steps: training steps of a loop in a round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    names = list(loops)
    for i in range(rounds):
        first = i % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(loops[name](steps) / steps)
    return seconds


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile; linear between the values."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


class _Worker:
    """The process of one candidate: it trains on request and reports time and memory."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        command = [sys.executable, __file__, "--serve", name, "--device", options.device]
        command += ["--width", str(options.width), "--channels", str(options.channels)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
        self._name = name
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.peak_mb = 0.0

    def train(self, steps: int) -> float:
        """Train for that many steps; returns the seconds that the process reports."""
        answer = self._answer(str(steps))
        self.peak_mb = answer["peak_mb"]
        return float(answer["seconds"])

    def count(self) -> dict[str, float]:
        """The FLOP and images of a step, and the FLOP/s of a matrix product in this precision."""
        return self._answer("count")

    def _answer(self, request: str) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the worker has no pipes")
        try:
            stdin.write(f"{request}\n")
            stdin.flush()
            line = next((line for line in stdout if line.startswith(ANSWER)), None)
        except BrokenPipeError:
            line = None
        if line is None:
            raise SystemExit(f"the process of '{self._name}' ended with status {self._process.wait()}; see above")
        answer: dict[str, Any] = json.loads(line.removeprefix(ANSWER))
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


def _serve(name: str, options: argparse.Namespace) -> None:
    """Train the number of steps on each input line; print the seconds and the peak memory."""
    import torch
    from candidates import BATCH, Setting, make
    from model_candidates import MODELS
    from model_candidates import make as make_model

    def now() -> float:
        if options.device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if name in MODELS:
            loop, batch = make_model(name, Path(folder), options.device)
        else:
            setting = Setting(width=options.width, channels=options.channels, device=options.device)
            loop, batch = make(name, setting, Path(folder)), BATCH
        for line in sys.stdin:
            if line.strip() == "count":
                counted = {"flop": _flop(loop), "batch": batch, "peak": _peak_flops(options.device, "bf16" in name)}
                print(ANSWER + json.dumps(counted), flush=True)
                continue
            began = now()
            loop(int(line))
            seconds = now() - began
            peak = _peak_mb() if options.device == "cpu" else torch.cuda.max_memory_allocated() / 1e6
            print(ANSWER + json.dumps({"seconds": seconds, "peak_mb": peak}), flush=True)


def _flop(loop: Callable[[int], object]) -> int:
    """The FLOP of one step, counted."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        loop(1)
    return counter.get_total_flops()


def _peak_flops(device: str, half: bool, repeats: int = 5) -> float:
    """FLOP/s of the fastest of several large square matrix products, on one thread of a CPU or on the GPU."""
    import torch

    side = 1024 if device == "cpu" else 8192
    matrix = torch.randn(side, side, device=device, dtype=torch.bfloat16 if half else torch.float32)
    times = []
    for _ in range(repeats + 1):
        began = time.process_time() if device == "cpu" else time.perf_counter()
        matrix @ matrix
        if device != "cpu":
            torch.cuda.synchronize()
        times.append((time.process_time() if device == "cpu" else time.perf_counter()) - began)
    return 2 * side**3 / min(times[1:])


def _measure(names: Sequence[str], options: argparse.Namespace, rounds: int, steps: int) -> dict[str, Any]:
    from candidates import COMPARISONS as OF_TABLE_3
    from model_candidates import COMPARISONS

    workers: dict[str, _Worker] = {}
    first: dict[str, float] = {}
    try:
        for name in names:  # one after another, so that none waits for the start of the others
            began = time.perf_counter()
            workers[name] = _Worker(name, options)
            workers[name].train(1)
            first[name] = time.perf_counter() - began
            workers[name].train(1 if options.quick else 2)
        seconds = alternate({name: worker.train for name, worker in workers.items()}, rounds, steps)
        peaks = {name: worker.peak_mb for name, worker in workers.items()}
        counts = {name: worker.count() for name, worker in workers.items()}
    finally:
        for worker in workers.values():
            worker.close()
    ratios = []
    for ours, other, goal, what in (*OF_TABLE_3, *COMPARISONS):
        if ours in seconds and other in seconds:
            each = [theirs / mine for mine, theirs in zip(seconds[ours], seconds[other], strict=True)]
            low, middle, high = quartiles(each)
            ratios.append(
                {"what": what, "ours": ours, "other": other, "median": middle, "quartiles": [low, high], "goal": goal}
            )
    step = {name: statistics.median(each) for name, each in seconds.items()}
    return {
        "seconds_per_step": seconds,
        "images_per_second": {name: counts[name]["batch"] / step[name] for name in names},
        "gflop_per_image": {name: counts[name]["flop"] / counts[name]["batch"] / 1e9 for name in names},
        "matrix_gflops": {name: counts[name]["peak"] / 1e9 for name in names},
        "share_of_peak": {name: counts[name]["flop"] / step[name] / counts[name]["peak"] for name in names},
        "ratios": ratios,
        "peak_memory_mb": peaks,
        "first_step_seconds": first,
    }


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _machine() -> dict[str, Any]:
    import torch

    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    kept = {key: able[key] for key in ("cpu_name", "avx512_bf16", "amx_bf16") if key in able}
    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    from genprior.runs.environment import device_name

    processor = device_name(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    return {"torch": torch.__version__, "processor": processor, "python": platform.python_version(), **kept, **gpu}


def _tables(result: dict[str, Any]) -> str:
    setting = result["setting"]
    clock = "one thread, process CPU time" if setting["device"] == "cpu" else "on the GPU, wall clock"
    lines = [
        f"Table 3: width {setting['width']}, {setting['channels']} x 32 x 32, batch 64; {clock}, "
        f"{result['rounds']} rounds of {result['steps']} steps; torch {result['machine']['torch']}; "
        f"{result['machine']['processor']}, load {result['load'] or 0:.1f}",
        "VAE and VampPrior: mlp of 300-300, batch 100; others on a CPU: the sizes of their recipes' change quick.",
        "",
        "| loop | images/s | GFLOP an image | of the matrix peak | peak memory, MB | start to first step, s |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, rate in result["images_per_second"].items():
        share, peak = result["share_of_peak"][name], result["matrix_gflops"][name]
        lines.append(
            f"| {name} | {rate:,.1f} | {result['gflop_per_image'][name]:.4f} | {share:.1%} of {peak:,.0f} GFLOP/s | "
            f"{result['peak_memory_mb'][name]:.0f} | {result['first_step_seconds'][name]:.1f} |"
        )
    if result["left_out"]:
        lines += ["", f"Left out, because pythae is not installed: {', '.join(result['left_out'])}."]
    lines += ["", "| compared | times as fast: median [quartiles] | goal |", "|---|---|---|"]
    for ratio in result["ratios"]:
        low, high = ratio["quartiles"]
        goal = f">= {ratio['goal']}" if ratio["goal"] else "-"
        lines.append(f"| {ratio['what']} | {ratio['median']:.2f} [{low:.2f}, {high:.2f}] | {goal} |")
    if "startup_seconds" in result:
        lines += ["", "| start-up | seconds, wall-clock: median [least, most] |", "|---|---|"]
        for name, facts in result["startup_seconds"].items():
            failed = facts.get("failed")
            if not failed:
                times = f"{facts['median']:.2f} [{facts['least']:.2f}, {facts['most']:.2f}]"
            lines.append(f"| {name} | {f'failed: {failed}' if failed else times} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
