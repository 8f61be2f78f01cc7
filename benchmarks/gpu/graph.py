"""Steps as a CUDA graph against steps without: time, and what differs after 100 of them.

    python benchmarks/gpu/graph.py --device cuda --out graph.json
    python benchmarks/gpu/graph.py --device cuda --compiled --out compiled.json

Rows AAE and A+B+C of Table 3 on random images, the same weights and seeds. With `--compiled` also steps with a graph
whose networks torch.compile fused, and the time that this took. Without a GPU there is no graph, so that the others are
the same; that only rehearses the script.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import genprior
from genprior.parts import ImageSet
from genprior.runs.trainer import Trainer

__all__ = ["compare", "kernels", "main", "trainer_of"]

RECIPE = Path(__file__).parents[2] / "recipes" / "table3_ablation.toml"


def trainer_of(
    row: str,
    graph: str,
    device: str,
    width: int,
    folder: str,
    *,
    compiled: bool = False,
    compiler: str | None = None,
) -> Trainer:
    """A prepared trainer of a row on 4,096 random images, whose steps are captured and networks compiled, or not."""
    networks = "encoder decoder image_critic" if row != "AAE" else "encoder decoder"
    settings = [f"model.{name}.width={width}" for name in networks.split()]
    settings += [f'run.graph="{graph}"', f"run.compile={str(compiled).lower()}", "scores=[]"]
    recipe = genprior.load_recipe(RECIPE, rows=[row], settings=settings)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4096, 3, 32, 32), dtype=torch.uint8, generator=generator)
    split = ImageSet(images, torch.arange(4096) % 10, tuple("0123456789"))
    trainer = Trainer(recipe.plans[0], 0, Path(folder), device=device, splits={"train": split})
    if compiler is not None:
        trainer.compiler = compiler
    trainer.prepare()
    trainer._training_mode()
    return trainer


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def compare(
    row: str,
    device: str,
    width: int,
    steps: int,
    *,
    compiled: bool = False,
    compiler: str | None = None,
    kernels_to: Path | None = None,
) -> dict[str, Any]:
    """Train a row with and without graphs; seconds a step of the last two thirds, and the largest differences.

    Args:
        row: its label.
        device: `cpu` or `cuda`.
        width: of the networks.
        steps: how many.
        compiled: also train it with a graph and compiled networks.
        compiler: the backend of torch.compile; that of training by default.
        kernels_to: a folder for tables of kernels.
    """
    result: dict[str, Any] = {"row": row, "width": width, "steps": steps}
    states = {}
    for graph in ("off", "auto", "compiled")[: 3 if compiled else 2]:
        with tempfile.TemporaryDirectory() as folder:
            fused = graph == "compiled"
            trainer = trainer_of(
                row, "auto" if fused else graph, device, width, folder, compiled=fused, compiler=compiler
            )
            for step in range(steps):
                if step == steps // 3:
                    _wait(device)
                    began = time.perf_counter()
                trainer.one_step()
            _wait(device)
            result[f"seconds_{graph}"] = (time.perf_counter() - began) / (steps - steps // 3)
            states[graph] = {name: tensor.detach().cpu().clone() for name, tensor in trainer._state.tensors().items()}
            if trainer.compiled is not None:
                result["compiled"] = trainer.compiled.facts()
            result[f"captured_{graph}"] = trainer.graphs is not None and trainer.graphs.captured > 0
            if device == "cuda":
                result[f"peak_mb_{graph}"] = torch.cuda.max_memory_allocated() / 1e6
                torch.cuda.reset_peak_memory_stats()
            if kernels_to is not None and graph != "off":
                found = kernels(trainer)
                result[f"kernels_{graph}"] = {key: value for key, value in found.items() if key != "each"}
                kernels_to.mkdir(parents=True, exist_ok=True)
                name = f"kernels-{row.replace('+', '')}-{graph}.json"
                (kernels_to / name).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    plain, replayed = states["off"], states["auto"]
    unequal = [name for name, tensor in plain.items() if not torch.equal(tensor, replayed[name])]
    result["unequal"] = len(unequal)
    result["tensors"] = len(plain)
    result["largest_difference"] = max(
        (float((plain[name].double() - replayed[name].double()).abs().max()) for name in unequal), default=0.0
    )
    return result


def kernels(trainer: Trainer, steps: int = 5) -> dict[str, Any]:
    """The kernels of a step, or the operations on a CPU, by the time that they take: microseconds and calls a step."""
    on_gpu = trainer.device.type == "cuda"
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CUDA if on_gpu else activity.CPU]) as profile:
        for _ in range(steps):
            trainer.one_step()
        _wait(trainer.device.type)
    each = [
        ((e.self_device_time_total if on_gpu else e.self_cpu_time_total) / steps, e.count / steps, e.key[:200])
        for e in profile.key_averages()
    ]
    each = sorted((one for one in each if one[0] > 0), reverse=True)
    return {
        "microseconds": round(sum(one[0] for one in each), 1),
        "calls": sum(one[1] for one in each),
        "each": each,
    }


def main(arguments: list[str] | None = None) -> int:
    """Compare as the command line says, print and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cpu", "cuda"))
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rows", nargs="+", default=["AAE", "A+B+C"])
    parser.add_argument("--deterministic", action="store_true", help="choose deterministic kernels of cuDNN")
    parser.add_argument("--compiled", action="store_true", help="also with compiled networks")
    parser.add_argument("--compiler", help="the backend of torch.compile; `eager` rehearses the script in seconds")
    parser.add_argument("--kernels", type=Path, metavar="FOLDER", help="also write which kernels take how long")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    torch.backends.cudnn.deterministic = options.deterministic
    results = []
    for row in options.rows:
        each = compare(
            row,
            options.device,
            options.width,
            options.steps,
            compiled=options.compiled,
            compiler=options.compiler,
            kernels_to=options.kernels,
        )
        results.append(each)
        if options.out:  # after each row, in case that the time is up in the next one
            options.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        print(
            f"{each['row']}: {1e3 * each['seconds_off']:.2f} ms a step without, {1e3 * each['seconds_auto']:.2f} ms "
            f"with a graph (captured: {each['captured_auto']}); {each['unequal']} of {each['tensors']} tensors differ, "
            f"by at most {each['largest_difference']:.1e}",
            flush=True,
        )
        if "compiled" in each:
            facts = each["compiled"]
            print(
                f"{each['row']}: {1e3 * each['seconds_compiled']:.2f} ms a step with compiled networks (captured: "
                f"{each['captured_compiled']}), which took {facts['seconds']:.0f} s; not compiled: {facts['eager']}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
