"""Which trainings have the same bits: `python benchmarks/determinism.py --help`.

A row of the recipes is trained for six steps, again and under conditions that must not matter; where a prior is fitted
afterwards, the fit has six steps too and is what is stopped. Compared are all tensors of the last checkpoint (weights,
moments, averaged weights, sums of records), the records without their times, and 16 images. Each condition has a
process of its own, which trains all rows one after another.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["CONDITIONS", "Choice", "chosen_rows", "difference", "fingerprint", "main"]

RECIPES = Path(__file__).parents[1] / "recipes"
STEPS, CHECKPOINT = 6, 3
KINDS = ("model", "prior", "conditioner")
EMBEDDED = ("digits", "captioned_digits")
"""Data sets that need neither files nor a network."""

Choice = tuple[str, str]
"""A recipe's file name and a row's label."""


class _CutOff(Exception):
    """Ends a training between two steps, without a checkpoint."""


# ---------------------------------------------------------------------------------------------------------------------
# Which rows
# ---------------------------------------------------------------------------------------------------------------------


def chosen_rows(kinds: Sequence[str] = KINDS) -> dict[Choice, list[str]]:
    """The first row of the recipes that uses each registered part of these kinds, and the parts that it is there for.

    Raises:
        SystemExit: no row uses a part of the kind model.
    """
    from genprior import load_recipe
    from genprior.registry import installed

    registry = installed()
    wanted = {(kind, name) for kind in kinds for name in registry.names(kind)}
    chosen: dict[Choice, list[str]] = {}
    for path in sorted(RECIPES.rglob("*.toml")):
        recipe = load_recipe(path, changes=["quick"])
        for plan in recipe.plans:
            if plan.data.name not in EMBEDDED:
                continue
            found = sorted(_parts_of(plan.model) & wanted)
            wanted -= set(found)
            if found:
                chosen[str(path.relative_to(RECIPES)), plan.label] = [f"{kind} {name}" for kind, name in found]
    if without := sorted(name for kind, name in wanted if kind == "model"):
        raise SystemExit(f"no row of recipes/ with the change 'quick' uses the models {', '.join(without)}")
    return chosen


def _parts_of(config: Any) -> set[tuple[str, str]]:
    """Kind and name of a part's settings and of those of its parts."""
    from genprior import PartConfig

    found = {(config.part.kind, config.name)}
    for field in type(config).model_fields:
        value = getattr(config, field)
        if isinstance(value, PartConfig):
            found |= _parts_of(value)
    return found


def _recipe(choice: Choice, *, checkpoint: int = CHECKPOINT, log: int = 2, seeds: Sequence[int] = (0,)) -> Any:
    from genprior import load_recipe

    file, label = choice
    settings = [f"run.steps={STEPS}", f"run.checkpoint_every={checkpoint}", f"run.log_every={log}"]
    settings += ["run.sample_every=1000", "run.keep={last=9}", "scores=[]"]
    recipe = load_recipe(RECIPES / file, changes=["quick"], settings=settings, rows=[label], seeds=seeds)
    if recipe.plans[0].fitted_prior is None:
        return recipe
    settings.append(f"run.fit.steps={STEPS}")
    return load_recipe(RECIPES / file, changes=["quick"], settings=settings, rows=[label], seeds=seeds)


# ---------------------------------------------------------------------------------------------------------------------
# Conditions
# ---------------------------------------------------------------------------------------------------------------------


def _train(choice: Choice, out: Path, **settings: Any) -> None:
    from genprior import train

    train(_recipe(choice, **settings), out=out, device="cpu")


def _stop(choice: Choice, out: Path) -> None:
    """Stop after step 3, as Ctrl-C does; the second part of the condition resumes."""
    from genprior.errors import Interrupted

    try:
        _partly(choice, out, lambda step: step == CHECKPOINT)
    except Interrupted:
        return
    if _steps_of(choice) > CHECKPOINT:
        raise SystemExit(f"{choice} was not interrupted")


def _cut_off(choice: Choice, out: Path) -> None:
    """End after step 5 without a checkpoint, as a kill does; the second part resumes from step 3."""

    def end(step: int) -> bool:
        if step == CHECKPOINT + 2:
            raise _CutOff
        return False

    try:
        _partly(choice, out, end)
    except _CutOff:
        return
    if _steps_of(choice) > CHECKPOINT:
        raise SystemExit(f"{choice} was not cut off")


def _steps_of(choice: Choice) -> int:
    """The steps of the training that is disturbed: of the second stage, if there is one; a closed form has one step."""
    return int(_recipe(choice).plans[0].own_run.steps)


def _partly(choice: Choice, out: Path, stop: Callable[[int], bool]) -> None:
    from genprior.runs.jobs import jobs_of, with_first_stages
    from genprior.runs.second_stage import trainer_of

    *first_stages, job = with_first_stages(jobs_of(_recipe(choice), out))
    for first in first_stages:  # undisturbed: they are rows like others
        trainer_of(first, device="cpu").run()
    trainer = trainer_of(job, device="cpu", stop=lambda: stop(trainer.step))
    trainer.run()


def _side_by_side(choice: Choice, out: Path) -> None:
    """Train two seeds at the same time, each in a process of its own."""
    from genprior import train

    train(_recipe(choice, seeds=(1, 0)), out=out, jobs=2, device="cpu")


CONDITIONS: dict[str, list[tuple[Callable[..., None], dict[str, Any]]]] = {
    "first": [(_train, {})],
    "again": [(_train, {})],
    "stopped at 3": [(_stop, {}), (_train, {})],
    "cut off at 5": [(_cut_off, {}), (_train, {})],
    "two jobs": [(_side_by_side, {})],
    "checkpoints": [(_train, {"checkpoint": 2})],
    "records": [(_train, {"log": 3})],
    "two threads": [(_train, {})],
}
"""What each condition does with a row; each part has a process of its own."""
OTHER_RECORDS = ("records",)
"""Conditions with records of other steps, so that only the weights and the images are compared."""
REVERSED = ("again",)
"""Conditions that train the rows in reversed order, so that what a row leaves behind in its process shows."""


def _serve(order: dict[str, Any]) -> None:
    """Train all rows of an order under one part of a condition."""
    import torch

    torch.set_num_threads(order["threads"])
    if order["condition"] == "two jobs" and hasattr(os, "sched_setaffinity"):
        # A worker takes its share of the cores, here one thread as in the other conditions.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    train, settings = CONDITIONS[order["condition"]][order["part"]]
    for choice, out in order["rows"]:
        train(tuple(choice), Path(out), **settings)
        print(".", end="", file=sys.stderr, flush=True)


def _run(condition: str, rows: Sequence[Choice], home: Path, cache: Path) -> None:
    """Train all rows under a condition."""
    order = list(reversed(rows)) if condition in REVERSED else list(rows)
    for part in range(len(CONDITIONS[condition])):
        listed = {
            "condition": condition,
            "part": part,
            "threads": 2 if condition == "two threads" else 1,
            "rows": [(choice, str(_out(home, condition, choice))) for choice in order],
        }
        environment = os.environ | {"OMP_NUM_THREADS": "1", "GENPRIOR_DATA": str(cache), "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, __file__, "--serve", json.dumps(listed)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"the condition '{condition}' ended with status {done.returncode}; see above")


def _out(home: Path, condition: str, choice: Choice) -> Path:
    return home / condition.replace(" ", "-") / choice[0].replace("/", "-").removesuffix(".toml")


# ---------------------------------------------------------------------------------------------------------------------
# What is compared
# ---------------------------------------------------------------------------------------------------------------------


def fingerprint(folder: Path, images: int = 16) -> dict[str, str]:
    """Hashes of a run: of all tensors of its newest checkpoint, of its records without times, and of new images.

    Args:
        folder: the run's folder.
        images: how many images are drawn; a model that makes none has no hash of them.
    """
    from genprior import load_run

    run = load_run(folder)
    saved = run._files.read_checkpoint()
    if saved is None:
        raise SystemExit(f"{folder} has no checkpoint")
    weights = hashlib.sha256(json.dumps(saved.facts | {"seconds": 0, "sha256": 0}, sort_keys=True).encode())
    for name, tensor in sorted(saved.tensors.items()):
        weights.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        weights.update(tensor.contiguous().flatten().view(-1).numpy().tobytes())
    records = [{key: value for key, value in record.items() if key != "seconds"} for record in run.metrics]
    found = {"weights": weights.hexdigest(), "records": _hash(json.dumps(records).encode())}
    if run.plan.model.part.makes_images:
        found["images"] = _hash(run.sample(images).numpy().tobytes())
    return found


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _weights_of(folder: Path) -> dict[str, Any]:
    from genprior import load_run

    saved = load_run(folder)._files.read_checkpoint()
    return {} if saved is None else saved.under("model")


def difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    """The largest difference of a weight, relative to the largest weight of its tensor: max |a - b| / max |a|."""
    import torch

    found = 0.0
    for name, a in first.items():
        if a.dtype.is_floating_point and a.numel():
            apart = (a.double() - second[name].double()).abs().max()
            found = max(found, float(apart / a.double().abs().max().clamp(min=torch.finfo(a.dtype).tiny)))
    return found


def _compared(home: Path, rows: Sequence[Choice], conditions: Sequence[str]) -> dict[Choice, dict[str, Any]]:
    """For each row and condition what differs from the first training, and by how much the weights do."""
    found: dict[Choice, dict[str, Any]] = {}
    for choice in rows:
        folders = {name: _out(home, name, choice) / choice[1] / "seed-0" for name in ("first", *conditions)}
        base = fingerprint(folders["first"])
        found[choice] = {}
        for name in conditions:
            other = fingerprint(folders[name])
            compared = [key for key in base if not (key == "records" and name in OTHER_RECORDS)]
            # The sums of the next record are of other steps.
            if name in OTHER_RECORDS:
                apart = difference(_weights_of(folders["first"]), _weights_of(folders[name]))
                compared.remove("weights")
                differs = ["weights"] if apart else []
            else:
                differs = []
            differs += [key for key in compared if base[key] != other[key]]
            found[choice][name] = {"differs": differs}
            if "weights" in differs:
                apart = difference(_weights_of(folders["first"]), _weights_of(folders[name]))
                found[choice][name]["relative"] = apart
    return found


# ---------------------------------------------------------------------------------------------------------------------
# The command line
# ---------------------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the command line says, print a table, and write JSON; the status is 1 if bits differ that must not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kinds", nargs="+", default=list(KINDS), metavar="KIND", help="kinds of parts, each of which a row must use"
    )
    parser.add_argument("--conditions", nargs="+", metavar="NAME", help="conditions to try; all by default")
    parser.add_argument("--models", nargs="+", metavar="NAME", help="only rows that are there for these models")
    parser.add_argument("--recipes", nargs="+", metavar="FILE", help="only rows of these recipes, such as priors.toml")
    parser.add_argument("--quick", action="store_true", help="one model under two conditions, as a check")
    parser.add_argument("--keep", type=Path, help="a folder for the runs; by default they are removed")
    parser.add_argument("--out", help="the JSON file to write")
    parser.add_argument("--serve", metavar="ORDER", help="train in this process; used by this script itself")
    options = parser.parse_args(arguments)
    if options.serve:
        _serve(json.loads(options.serve))
        return 0
    possible = [name for name in CONDITIONS if name != "first"]
    if options.quick:
        options.kinds, options.models = ["model"], options.models or ["labels_alone"]
        options.conditions = options.conditions or ["cut off at 5", "records"]
    if unknown := set(options.conditions or ()) - set(possible):
        parser.error(f"there is no condition '{min(unknown)}'; possible: {', '.join(possible)}")
    conditions = options.conditions or possible
    rows = chosen_rows(options.kinds)
    if options.models is not None:
        named = {f"model {name}" for name in options.models}
        rows = {choice: parts for choice, parts in rows.items() if named & set(parts)}
    if options.recipes is not None:
        rows = {choice: parts for choice, parts in rows.items() if choice[0] in options.recipes}
    if not rows:
        parser.error("there is no such model or recipe")
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        home = options.keep or Path(temporary)
        for name in ("first", *conditions):
            print(f"{name}: {len(rows)} rows ", end="", file=sys.stderr, flush=True)
            _run(name, list(rows), home, Path(temporary) / "data")
            print(f" {time.perf_counter() - began:.0f} s", file=sys.stderr)
        found = _compared(home, list(rows), conditions)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = {
        "rows": [
            {"recipe": choice[0], "row": choice[1], "parts": rows[choice], "conditions": each}
            for choice, each in found.items()
        ],
        "machine": _machine(),
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "wall_seconds": time.perf_counter() - began,
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    print(_table(result))
    if options.out:
        Path(options.out).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    # With another number of threads sums are taken in another order, which nothing promises to be the same.
    broken = [name for each in found.values() for name, one in each.items() if one["differs"] and "thread" not in name]
    return 1 if broken else 0


def _machine() -> dict[str, Any]:
    import torch

    from genprior.runs.environment import device_name

    return {
        "processor": device_name(torch.device("cpu")),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _table(result: dict[str, Any]) -> str:
    rows = result["rows"]
    conditions = list(rows[0]["conditions"])
    machine = result["machine"]
    lines = [
        f"{machine['processor']}, torch {machine['torch']}, {result['cpu_seconds']:.0f} s of processor time, "
        f"{result['wall_seconds']:.0f} s",
        "",
        f"| recipe, row | for | {' | '.join(conditions)} |",
        "|---" * (2 + len(conditions)) + "|",
    ]
    for row in rows:
        cells = [_cell(row["conditions"][name]) for name in conditions]
        lines.append(f"| {row['recipe']}, {row['row']} | {', '.join(row['parts'])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(compared: dict[str, Any]) -> str:
    if not compared["differs"]:
        return "="
    relative = compared.get("relative")
    return ", ".join(compared["differs"]) if relative is None else f"{relative:.1e}"


if __name__ == "__main__":
    raise SystemExit(main())
