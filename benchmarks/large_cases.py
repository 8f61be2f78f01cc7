"""What `large.py` measures, each case in a process of its own: `python benchmarks/large_cases.py ORDER`, in JSON."""

from __future__ import annotations

import array
import contextlib
import io
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["ANSWER", "CASES", "RECIPE", "VARIANTS", "recipe_of_rows"]

ANSWER = "answer "
"""The beginning of the line with the answer, in JSON."""
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


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]))
