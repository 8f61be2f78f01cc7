"""Long trainings and large numbers of rows, images and runs: `python benchmarks/large.py --help`.

What must not grow with the number of steps (memory, open files, the time of a step) is fitted over the steps. What may
grow in proportion (time and memory over rows, images or runs) is measured at three sizes, and the slope of its
logarithm over that of the size is its exponent. Each measurement has a process of its own; time is processor time.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from large_cases import ANSWER, CASES, VARIANTS

__all__ = ["exponent", "main", "slope"]

BLOCK = 1000
"""Steps over which the memory is summarised by its median, because single samples of it are not independent."""
SIZES = {
    "sweep": (50, 100, 200),
    "check": (100, 300, 1000),
    "folder": (5_000, 15_000, 50_000),
    "runs": (30, 100, 300),
}
QUICK = {"sweep": (1, 2, 3), "check": (1, 2, 3), "folder": (20, 40, 60), "runs": (1, 2, 3)}
UNITS = {"sweep": "rows", "check": "rows", "folder": "images", "runs": "runs"}


# ---------------------------------------------------------------------------------------------------------------------
# Fits
# ---------------------------------------------------------------------------------------------------------------------


def slope(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """The slope of the least squares line, and its standard error (infinite for two points)."""
    if len(x) < 2:
        return math.nan, math.inf
    middle_x, middle_y = statistics.fmean(x), statistics.fmean(y)
    spread = sum((each - middle_x) ** 2 for each in x)
    found = sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True)) / spread
    rest = sum((b - middle_y - found * (a - middle_x)) ** 2 for a, b in zip(x, y, strict=True))
    return found, math.sqrt(rest / (len(x) - 2) / spread) if len(x) > 2 else math.inf


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The p of value ~ size^p: the slope of log value over log size; NaN if a value is not positive."""
    if min(values) <= 0:
        return math.nan
    return slope([math.log(size) for size in sizes], [math.log(value) for value in values])[0]


# ---------------------------------------------------------------------------------------------------------------------
# The command line
# ---------------------------------------------------------------------------------------------------------------------


def _ask(order: dict[str, Any], data: Path) -> dict[str, Any]:
    """The answer of a process to an order."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GENPRIOR_DATA": str(data), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(Path(__file__).with_name("large_cases.py")), json.dumps(order)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    line = next((line for line in done.stdout.splitlines() if line.startswith(ANSWER)), None)
    if line is None:
        raise SystemExit(f"the process of {order} ended with status {done.returncode}; see above")
    answer: dict[str, Any] = json.loads(line.removeprefix(ANSWER))
    return answer


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure as the command line says, print tables, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="CASE", help="what to measure; all by default")
    parser.add_argument("--steps", type=int, default=20_000, help="steps of the long trainings")
    parser.add_argument("--variants", nargs="+", metavar="NAME", help="the long trainings; all by default")
    parser.add_argument("--sizes", nargs="+", type=int, metavar="N", help="sizes instead of those of the case")
    parser.add_argument("--profile", action="store_true", help="print where the time goes; times are larger then")
    parser.add_argument("--quick", action="store_true", help="a few steps, rows, images and runs, as a check")
    parser.add_argument("--out", help="the JSON file to write")
    options = parser.parse_args(arguments)
    if not Path("/proc/self/statm").exists():
        parser.error("memory and open files are read from /proc, which this system does not have; use Linux")
    for given, possible in ((options.only, CASES), (options.variants, VARIANTS)):
        if unknown := set(given or ()) - set(possible):
            parser.error(f"there is no '{min(unknown)}'; possible: {', '.join(possible)}")
    steps = 60 if options.quick else options.steps
    result: dict[str, Any] = {"machine": _machine(), "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    with tempfile.TemporaryDirectory() as home:
        data = Path(home) / "data"
        for case in [name for name in CASES if name in (options.only or CASES)]:
            if case == "steps":
                variants = options.variants or (list(VARIANTS)[:1] if options.quick else list(VARIANTS))
                orders = [{"case": case, "variant": variant, "n": steps} for variant in variants]
                found: Any = {order["variant"]: _of_steps(_ask(order, data), steps) for order in orders}
                print(_steps_table(found, steps))
            else:
                sizes = options.sizes or (QUICK if options.quick else SIZES)[case]
                found = {}
                for n in sizes:
                    print(f"{case}: {n:,} {UNITS[case]}", file=sys.stderr, flush=True)
                    order = {"case": case, "n": n, "shared": home, "profile": options.profile}
                    parts = [{"cached": False}, {"cached": True}] if case == "folder" else [{}]
                    answers = [_ask(order | part, data) for part in parts]
                    found[n] = {key: value for answer in answers for key, value in answer.items()}
                print(_sizes_table(case, found))
            print(flush=True)
            result[case] = found
    if options.out:
        Path(options.out).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def _of_steps(answer: dict[str, Any], steps: int) -> dict[str, float]:
    """What grows over the steps after the first tenth, in which memory is still being allocated."""
    samples = [each for each in answer["samples"] if each[0] > steps / 10]
    block = min(BLOCK, steps / 20)
    memory: dict[int, list[float]] = {}
    files: dict[int, list[float]] = {}
    for step, rss, handles, _ in samples:
        memory.setdefault(int(step // block), []).append(rss)
        files.setdefault(int(step // block), []).append(handles)
    thousands = [(place + 0.5) * block / 1000 for place in memory]
    rss_slope, rss_error = slope(thousands, [statistics.median(each) for each in memory.values()])
    files_slope, files_error = slope(thousands, [statistics.median(each) for each in files.values()])
    return {
        "MB per 1,000 steps": rss_slope,
        "its standard error": rss_error,
        "files per 1,000 steps": files_slope,
        "files, standard error": files_error,
        "files at most": max(each[2] for each in samples),
        "ms at begin": 1000 * _seconds_a_step(samples, 0.1 * steps, 0.2 * steps),
        "ms at end": 1000 * _seconds_a_step(samples, 0.9 * steps, steps),
        "peak MB": answer["peak_mb"],
        "wall_s": answer["wall_s"],
    }


def _seconds_a_step(samples: Sequence[Sequence[float]], first: float, last: float) -> float:
    """Processor time of a step between two steps, with its share of records, checkpoints and pictures."""
    within = [each for each in samples if first <= each[0] <= last]
    if len(within) < 2 or within[-1][0] == within[0][0]:
        return math.nan
    return float((within[-1][3] - within[0][3]) / (within[-1][0] - within[0][0]))


def _machine() -> dict[str, Any]:
    import torch

    from genprior.runs.environment import device_name

    return {
        "processor": device_name(torch.device("cpu")),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _steps_table(found: dict[str, dict[str, float]], steps: int) -> str:
    lines = [
        f"{steps:,} steps",
        "",
        "| training | memory, kB per 1,000 steps | peak, MB | open files per 1,000 steps | ms a step: begin | end "
        "| wall, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in found.items():
        lines.append(
            f"| {name} | {1000 * one['MB per 1,000 steps']:.1f} ± {1000 * one['its standard error']:.1f} "
            f"| {one['peak MB']:.0f} | {one['files per 1,000 steps']:.3f} ± {one['files, standard error']:.3f} "
            f"(at most {one['files at most']:.0f}) | {one['ms at begin']:.2f} | {one['ms at end']:.2f} "
            f"| {one['wall_s']:.0f} |"
        )
    return "\n".join(lines)


def _sizes_table(case: str, found: dict[int, dict[str, float]]) -> str:
    sizes = list(found)
    shown = [name for name in found[sizes[0]] if name != "wall_s"]
    header = " | ".join(f"{n:,} {UNITS[case]}" for n in sizes)
    lines = [f"| {case} | {header} | each more | exponent |", "|---" * (3 + len(sizes)) + "|"]
    for name in shown:
        values = [found[n][name] for n in sizes]
        digits = 0 if name.endswith("MB") else 2
        cells = " | ".join(f"{value:,.{digits}f}" for value in values)
        each, unit = 1000 * slope(sizes, values)[0], "kB" if name.endswith("MB") else "ms"
        lines.append(f"| {name} | {cells} | {each:,.2f} {unit} | {exponent(sizes, values):.2f} |")
    walls = " | ".join(f"{found[n]['wall_s']:.0f}" for n in sizes)
    return "\n".join([*lines, f"| wall, s, with the preparation | {walls} | | |"])


if __name__ == "__main__":
    raise SystemExit(main())
