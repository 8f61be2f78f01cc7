"""Long trainings and large numbers of rows, images and runs: `python benchmarks/large.py --help`.

What must not grow with the number of steps (memory, open files, the time of a step) is fitted over the steps. What may
grow in proportion (time and memory over rows, images or runs) is measured at three sizes, and the slope of its
logarithm over that of the size is its exponent. Each measurement has a process of its own; time is processor time.
"""

from __future__ import annotations

import argparse
import array
import contextlib
import io
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["CASES", "exponent", "main", "recipe_of_rows", "slope"]

ANSWER = "answer "
BLOCK = 1000
"""Steps over which the memory is summarised by its median, because single samples of it are not independent."""

RECIPE = """
title = "large"
scores = [{ name = "classifier_score", samples = 100 }]

[run]
steps = 20_000
batch = 32
log_every = 50
checkpoint_every = 1_000
sample_every = 1_000
ema = 0.99

[data]
name = "digits"
size = 8

[optimiser.default]
name = "adam"
lr = 1e-3

[model]
name = "aae"
code_size = 8
prior = { name = "gaussian" }
encoder = { name = "mlp", hidden = [64, 64] }
decoder = { name = "mlp", hidden = [64, 64] }
code_critic = { name = "code_mlp", hidden = [64] }
image_critic = { name = "image_mlp", hidden = [64] }
reconstruction = { name = "pixel", metric = "squared" }
conditioner = { name = "none" }
code_game = { name = "nonsaturating" }
image_game = { name = "nonsaturating" }
rec_weight = 10.0

[change.seldom.run]
log_every = 1_000

[change.learned.run]
on_divergence = "skip"

[change.learned.model]
prior = { name = "code_generator" }
improves = { prior = true, decoder = true }
conditioner = { name = "infogan", categorical = [10] }

[change.vampprior.model]
name = "vae"
code_size = 8
prior = { name = "vampprior", components = 50 }
encoder = { name = "mlp", hidden = [64, 64], posterior = "gaussian" }
decoder = { name = "mlp", hidden = [64, 64] }
reconstruction = { name = "pixel", metric = "bernoulli", reduction = "sum" }
conditioner = { name = "none" }
"""
VARIANTS = {
    "AAE": (),
    "AAE, a record each 1,000 steps": ("seldom",),
    "infogan, code generator, skip": ("learned",),
    "VAE, VampPrior": ("vampprior",),
}
"""The trainings of many steps, with their changes of the recipe."""
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
# In a process of its own
# ---------------------------------------------------------------------------------------------------------------------


def _rss_mb() -> float:
    """The memory of this process that is in use now; Linux."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _command(*arguments: str) -> None:
    """Give a command to genprior in this process; its output is dropped.

    Raises:
        SystemExit: it failed.
    """
    from genprior.cli import app

    sys.argv = ["genprior", *arguments]
    told = io.StringIO()
    try:
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            app.main()
    except SystemExit as end:
        if end.code:
            raise SystemExit(f"genprior {' '.join(arguments)} failed: {told.getvalue()[-2000:]}") from end


@contextlib.contextmanager
def _measured(into: dict[str, float], name: str) -> Iterator[None]:
    """Add the processor time of the block, and the memory that the process has had at most beyond that before it."""
    before, began = _rss_mb(), time.process_time()
    yield
    into[f"{name}, s"] = time.process_time() - began
    into[f"{name}, MB"] = max(0.0, _peak_mb() - before)


def recipe_of_rows(n: int, path: Path, steps: int = 2) -> Path:
    """Write a recipe of n rows, each with a change of its own.

    Args:
        n: the number of rows.
        path: the file.
        steps: the training steps of each.
    """
    changes = "".join(f"[change.c{k:04d}.model]\nrec_weight = {1 + k / 8}\n\n" for k in range(n))
    rows = "".join(f'[[row]]\nlabel = "r{k:04d}"\nchanges = ["c{k:04d}"]\n\n' for k in range(n))
    path.write_text(f"{RECIPE.replace('20_000', str(steps), 1)}\n{changes}{rows}", encoding="utf-8")
    return path


def _warm_up(home: Path) -> None:
    """Import everything, and read what every command reads, before the clock starts."""
    recipe = recipe_of_rows(1, home / "one.toml")
    for command in (["train", "--jobs", "1", "--out", str(home / "one")], ["check"]):
        _command(command[0], str(recipe), *command[1:], "--device", "cpu")
    for command in ("bench", "show"):
        _command(command, str(home / "one"))


def _steps(order: dict[str, Any], home: Path) -> dict[str, Any]:
    """Train, and sample memory, open files and processor time."""
    from genprior import load_recipe
    from genprior.runs.jobs import jobs_of
    from genprior.runs.trainer import Trainer

    path = home / "steps.toml"
    path.write_text(RECIPE, encoding="utf-8")
    settings = [f"run.steps={order['n']}"]
    (job,) = jobs_of(load_recipe(path, changes=VARIANTS[order["variant"]], settings=settings), home / "out")
    samples = array.array("d")  # a list of tuples would itself grow by about 150 bytes a sample

    def sample(step: int, rate: float) -> None:
        samples.extend((step, _rss_mb(), len(os.listdir("/proc/self/fd")), time.process_time()))
        if len(samples) % 400 == 0:
            print(f"{order['variant']}: step {step:,} of {order['n']:,}", file=sys.stderr, flush=True)

    Trainer(job.plan, job.seed, job.folder, device="cpu", progress=sample).run()
    return {"samples": [list(samples[k : k + 4]) for k in range(0, len(samples), 4)], "peak_mb": _peak_mb()}


def _sweep(order: dict[str, Any], home: Path) -> dict[str, float]:
    """Train n rows of two steps, one after another, and write the table once more."""
    from genprior import load_recipe
    from genprior.runs.jobs import jobs_of
    from genprior.tables.gather import write_table_of_jobs

    _warm_up(home)
    found: dict[str, float] = {}
    path = recipe_of_rows(order["n"], home / "rows.toml")
    with _measured(found, "load_recipe"):
        recipe = load_recipe(path)
    with _measured(found, "train"):
        _command("train", str(path), "--jobs", "1", "--out", str(home / "rows"), "--device", "cpu")
    with _measured(found, "again"):  # all rows are finished
        _command("train", str(path), "--jobs", "1", "--out", str(home / "rows"), "--device", "cpu")
    before = _rss_mb()
    with _measured(found, "table"):
        write_table_of_jobs(recipe, jobs_of(recipe, home / "rows"), home / "rows")
    found["table, MB"] = max(0.0, _rss_mb() - before)
    return found


def _check(order: dict[str, Any], home: Path) -> dict[str, float]:
    """`genprior check` of n rows."""
    from genprior import load_recipe

    _warm_up(home)
    found: dict[str, float] = {}
    path = recipe_of_rows(order["n"], home / "rows.toml")
    with _measured(found, "load_recipe"):
        load_recipe(path)
    with _measured(found, "check"):
        _command("check", str(path), "--device", "cpu")
    return found


def _folder(order: dict[str, Any], home: Path) -> dict[str, float]:
    """Read n images of ten classes for the first time or, with `cached`, again; and hash them, as resuming does."""
    from genprior.registry import installed

    images = _images(order["n"], Path(order["shared"]))
    make = installed().find("dataset", "folder").Config(path=images, size=16, channels=3).make
    found: dict[str, float] = {}
    make().files_hash()  # so that both processes find the files in the memory of the system
    with _measured(found, "cached" if order["cached"] else "first"):
        make().load("train")
    if order["cached"]:
        with _measured(found, "hash"):
            make().files_hash()
    return found


def _images(n: int, home: Path) -> Path:
    """A folder with n pictures of 16 x 16 pixels in ten folders of classes; made if it is not there yet."""
    import numpy as np
    from PIL import Image

    folder = home / f"images-{n}"
    if folder.exists():
        return folder
    draw = np.random.RandomState(0)
    for k in range(n):
        place = folder / f"class-{k % 10}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.randint(0, 256, (16, 16, 3), dtype=np.uint8)).save(place / f"{k:06d}.png")
        if k % 10_000 == 9_999:
            print(f"{k + 1:,} of {n:,} pictures are written", file=sys.stderr, flush=True)
    return folder


def _runs(order: dict[str, Any], home: Path) -> dict[str, float]:
    """`genprior bench` and `show` of n runs: copies of one under other labels, three seeds a row."""
    _warm_up(home)
    found: dict[str, float] = {}
    folder = home / "many"
    _copies(home / "one" / "r0000" / "seed-0", folder, order["n"])
    with _measured(found, "bench"):
        _command("bench", str(folder))
    with _measured(found, "show"):
        _command("show", str(folder))
    return found


def _copies(run: Path, folder: Path, n: int) -> None:
    recipe = (run / "recipe.toml").read_text(encoding="utf-8")
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    for k in range(n):
        label, seed = f"r{k // 3:04d}", k % 3
        copy = folder / label / f"seed-{seed}"
        copy.mkdir(parents=True)
        (copy / "recipe.toml").write_text(recipe.replace('label = "r0000"', f'label = "{label}"'), encoding="utf-8")
        (copy / "run.json").write_text(json.dumps(facts | {"label": label, "seed": seed}), encoding="utf-8")
        for name in ("scores.json", "metrics.jsonl"):
            (copy / name).write_bytes((run / name).read_bytes())


CASES: dict[str, Callable[[dict[str, Any], Path], dict[str, Any]]] = {
    "steps": _steps,
    "sweep": _sweep,
    "check": _check,
    "folder": _folder,
    "runs": _runs,
}
"""What is measured, by name; each in a process of its own."""


def _serve(order: dict[str, Any]) -> None:
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("GENPRIOR_DATA", str(Path(folder) / "data"))
        began = time.perf_counter()
        if order.get("profile"):
            import cProfile
            import pstats

            with cProfile.Profile() as profile:
                answer = CASES[order["case"]](order, Path(folder))
            pstats.Stats(profile, stream=sys.stderr).sort_stats("cumulative").print_stats(60)
        else:
            answer = CASES[order["case"]](order, Path(folder))
        answer["wall_s"] = time.perf_counter() - began
    print(ANSWER + json.dumps(answer), flush=True)


# ---------------------------------------------------------------------------------------------------------------------
# The command line
# ---------------------------------------------------------------------------------------------------------------------


def _ask(order: dict[str, Any], data: Path) -> dict[str, Any]:
    """The answer of a process to an order."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GENPRIOR_DATA": str(data), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, __file__, "--serve", json.dumps(order)]
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
    parser.add_argument("--serve", metavar="ORDER", help="measure in this process; used by this script itself")
    options = parser.parse_args(arguments)
    if options.serve:
        _serve(json.loads(options.serve))
        return 0
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
