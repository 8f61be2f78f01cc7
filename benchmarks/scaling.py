"""How speed and memory grow with the batch, the code, the rows and the ranks: `python benchmarks/scaling.py --help`.

`batch`: images/s of rows of `table3_ablation --with quick` at each batch size. `code`: the peak memory of row AAE at
each code size. `rows`: the processor time of `genprior train` for K equal rows, beside K times that of one. `ranks`:
images/s of one batch shared among processes that torchrun starts, one thread each. Every measurement has a process of
its own; the first steps are not timed. Rows and ranks are training runs as a user starts them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["CASES", "main", "recipe_of_equal_rows"]

BATCHES = (32, 64, 128, 256, 512)
CODES = (8, 64, 512, 2000)
ROWS = (1, 2, 4)
RANKS = (1, 2)
CASES = ("batch", "code", "rows", "ranks")
WARM = 4
"""Steps that are not timed: memory is still being allocated."""
ANSWER = "answer "
"""The beginning of the line in which a process answers."""


# ---------------------------------------------------------------------------------------------------------------------
# In a process of its own
# ---------------------------------------------------------------------------------------------------------------------


def measured(order: dict[str, Any]) -> dict[str, float]:
    """Images/s, processor time and peak memory of the steps of one row in this process."""
    import torch

    import genprior
    from genprior.runs.row_training import RowTraining

    settings = [f"run.batch={order['batch']}", "run.steps=100000", "scores=[]", f'run.precision="{order["precision"]}"']
    if "code" in order:
        settings.append(f"model.code_size={order['code']}")
    recipe = genprior.load_recipe("table3_ablation", changes=["quick"], rows=[order["row"]], settings=settings)
    with tempfile.TemporaryDirectory() as folder:
        training = RowTraining(recipe.row(order["row"]), 0, Path(folder), device=order["device"])
        training.prepare()

        def steps(n: int) -> None:
            for _ in range(n):
                training.one_step()
            if order["device"] == "cuda":
                torch.cuda.synchronize()

        steps(WARM)
        if order["device"] == "cuda":
            torch.cuda.reset_peak_memory_stats()
        wall, processor = time.perf_counter(), time.process_time()
        steps(order["steps"])
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
    images = order["steps"] * order["batch"]
    peak = torch.cuda.max_memory_allocated() / 1e6 if order["device"] == "cuda" else _peak_mb()
    return {"images_per_second": images / wall, "processor_ms": 1000 * processor / images, "peak_mb": peak}


def _peak_mb() -> float:
    """The peak memory of this process since it began its own program, in MB."""
    # getrusage's peak is inherited through fork and exec from a larger parent; VmHWM of a new program is its own.
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if platform.system() == "Darwin" else peak * 1024 / 1e6


# ---------------------------------------------------------------------------------------------------------------------
# Each case
# ---------------------------------------------------------------------------------------------------------------------


def _ask(order: dict[str, Any]) -> dict[str, float]:
    """What a process of its own answers to an order."""
    command = [sys.executable, __file__, "--serve", json.dumps(order)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    line = next((line for line in done.stdout.splitlines() if line.startswith(ANSWER)), None)
    if line is None:
        raise SystemExit(f"the process of {order} ended with status {done.returncode}; see above")
    answer: dict[str, float] = json.loads(line.removeprefix(ANSWER))
    return answer


def batch(options: argparse.Namespace, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Images/s at each batch size."""
    print("\n| row | batch | images/s | CPU ms an image | peak memory, MB |\n|---|---|---|---|---|")
    found = []
    for row in options.table_rows:
        for size in sizes:
            # As many images at each size, but at least a few steps.
            steps = max(3, options.steps * 64 // size)
            one = _ask(_order(options, row) | {"batch": size, "steps": steps})
            print(
                f"| {row} | {size} | {one['images_per_second']:,.0f} | {one['processor_ms']:.2f} "
                f"| {one['peak_mb']:,.0f} |",
                flush=True,
            )
            found.append({"row": row, "batch": size, **one})
    return found


def code(options: argparse.Namespace, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """The peak memory at each code size."""
    print("\n| code size (AAE, batch 64) | peak memory, MB | images/s |\n|---|---|---|")
    found = []
    for size in sizes:
        one = _ask(_order(options, "AAE") | {"batch": 64, "code": size, "steps": max(3, options.steps // 4)})
        print(f"| {size:,} | {one['peak_mb']:,.0f} | {one['images_per_second']:,.0f} |", flush=True)
        found.append({"code": size, **one})
    return found


def rows(options: argparse.Namespace, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """The processor time of K equal rows."""
    print("\n| equal rows (AAE, `--jobs 1`) | CPU s | times one row | a further row, times one |\n|---|---|---|---|")
    found: list[dict[str, Any]] = []
    for n in sizes:
        with tempfile.TemporaryDirectory() as folder:
            recipe = recipe_of_equal_rows(Path(folder), n, options.steps * 4, options.precision)
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            _train([sys.executable, "-m", "genprior"], recipe, Path(folder), options.device)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found.append({"rows": n, "processor_s": seconds})
        first = found[0]
        one = first["processor_s"] / first["rows"]
        further = f"{(seconds - first['processor_s']) / (n - first['rows']) / one:.2f}" if n > first["rows"] else ""
        print(f"| {n} | {seconds:.1f} | {seconds / one:.2f} | {further} |", flush=True)
    return found


def ranks(options: argparse.Namespace, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Images/s of one batch shared among processes; medians of rounds in which each number of ranks has its turn."""
    print("\n| row AAE, images of a batch in all | ranks | images/s, each round | times one rank |\n|---|---|---|---|")
    found = []
    for size in options.rank_batches:
        speeds: dict[int, list[float]] = {n: [] for n in sizes}
        steps = max(8, options.steps * 128 // size)
        for _ in range(options.rounds):
            for n in sizes:
                with tempfile.TemporaryDirectory() as folder:
                    recipe = recipe_of_equal_rows(Path(folder), 1, steps, options.precision, size)
                    torchrun = [
                        sys.executable,
                        "-m",
                        "torch.distributed.run",
                        "--standalone",
                        "--nproc-per-node",
                        str(n),
                    ]
                    _train([*torchrun, "-m", "genprior"], recipe, Path(folder), options.device)
                    (record,) = Path(folder, "out").rglob("run.json")
                    speeds[n].append(json.loads(record.read_text(encoding="utf-8"))["images_per_second"])
        for n, each in speeds.items():
            ratio = statistics.median(mine / one for mine, one in zip(each, speeds[sizes[0]], strict=True))
            print(f"| {size} | {n} | {', '.join(f'{speed:,.0f}' for speed in each)} | {ratio:.2f} |", flush=True)
            found.append({"batch": size, "ranks": n, "images_per_second": each, "times_one": ratio})
    return found


def recipe_of_equal_rows(folder: Path, n: int, steps: int, precision: str, batch: int = 64) -> Path:
    """Write a recipe with n rows that differ in their labels alone, from row AAE of `table3_ablation --with quick`."""
    import tomlkit

    import genprior

    settings = [f"run.steps={steps}", f"run.batch={batch}", f'run.precision="{precision}"', "scores=[]"]
    settings += [f"run.checkpoint_every={steps}", f"run.sample_every={steps}"]
    loaded = genprior.load_recipe("table3_ablation", changes=["quick"], rows=["AAE"], settings=settings)
    table = tomlkit.parse(loaded.row("AAE").as_toml())
    table.pop("label", None)
    document = tomlkit.dumps(table)
    document += "".join(f'\n[[row]]\nlabel = "AAE {number}"\nchanges = []\n' for number in range(n))
    path = folder / "equal_rows.toml"
    path.write_text(document, encoding="utf-8")
    return path


def _train(program: list[str], recipe: Path, folder: Path, device: str) -> None:
    arguments = ["train", str(recipe), "--out", str(folder / "out"), "--device", device]
    if "torch.distributed.run" not in program:
        arguments += ["--jobs", "1"]
    environment = os.environ | {"GENPRIOR_REPORT": "off"}
    done = subprocess.run([*program, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise SystemExit(done.stdout.decode(errors="replace"))


def _order(options: argparse.Namespace, row: str) -> dict[str, Any]:
    return {"row": row, "device": options.device, "precision": options.precision}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure as the command line says, print tables, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CASES, metavar="CASE", help="of batch, code, rows and ranks; all")
    parser.add_argument("--sizes", nargs="+", type=int, metavar="N", help="sizes instead of those of the case")
    parser.add_argument("--table-rows", nargs="+", default=["AAE", "A+B+C"], metavar="ROW", help="rows of case batch")
    parser.add_argument("--steps", type=int, default=40, help="timed steps of 64 images; rows and ranks take several")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of ranks")
    parser.add_argument("--rank-batches", nargs="+", type=int, default=[64, 256], metavar="N", help="batches of ranks")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", help="the JSON file to write")
    parser.add_argument("--serve", metavar="ORDER", help="measure one order; used by this script itself")
    options = parser.parse_args(arguments)
    if options.serve:
        print(ANSWER + json.dumps(measured(json.loads(options.serve))))
        return 0
    if options.sizes and len(options.only or ()) != 1:
        parser.error("--sizes are those of one case; name it with --only")
    if min(*options.rank_batches, *(options.sizes or [1])) < 1 or options.steps < 1 or options.rounds < 1:
        parser.error("sizes, batches, --steps and --rounds are at least 1")
    os.environ["OMP_NUM_THREADS"] = "1"
    print(f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {options.precision}")
    sizes = {"batch": BATCHES, "code": CODES, "rows": ROWS, "ranks": RANKS}
    measure = {"batch": batch, "code": code, "rows": rows, "ranks": ranks}
    found = {case: measure[case](options, options.sizes or sizes[case]) for case in options.only or CASES}
    if options.out:
        Path(options.out).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
