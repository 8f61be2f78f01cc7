"""Trainings side by side on one GPU, each in a process of its own: steps a second of all together.

    python benchmarks/gpu/together.py --counts 1 2 4 8 --out together.json

Row A+B+C of Table 3 on random images, as a CUDA graph, with the weights of seed 0 in all processes. All are started
first; then as many as --counts says train for --seconds, the others wait. With MPS (`genprior train --jobs` starts a
daemon of its own) processes compute at the same time; `--without-mps` measures how they take turns.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from genprior.launch.mps import sharing

__all__ = ["main", "measure"]

CHECKED_EVERY = 50
"""Steps that a GPU is given before the clock is looked at."""


def measure(
    counts: Sequence[int], device: str, width: int, seconds: float, *, mps: bool = True, row: str = "A+B+C"
) -> dict[str, Any]:
    """Steps a second together, by the number of processes.

    Args:
        counts: numbers of processes.
        device: `cpu` or `cuda`.
        width: of the networks.
        seconds: for which each number is measured.
        mps: whether they may share the GPU by MPS.
        row: of Table 3.
    """
    most = max(counts)
    spawn = multiprocessing.get_context("spawn")
    answers: Any = spawn.Queue()
    barrier = spawn.Barrier(most)
    with sharing(device, most if mps else 1) as shared:
        before = {name: os.environ.get(name) for name in shared.variables}
        os.environ.update(shared.variables)  # of the processes that are started now
        try:
            settings = (tuple(counts), device, width, seconds, row)
            workers = [spawn.Process(target=_train, args=(i, settings, barrier, answers)) for i in range(most)]
            for worker in workers:
                worker.start()
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        found: list[tuple[int, float]] = []
        while len(found) < sum(counts):
            answer = answers.get()
            if isinstance(answer, str):
                for worker in workers:
                    worker.terminate()
                raise SystemExit(f"a training failed: {answer}")
            found.append(answer)
        for worker in workers:
            worker.join()
    together = {n: sum(rate for count, rate in found if count == n) for n in counts}
    return {"row": row, "width": width, "seconds": seconds, "sharing": shared.described, "steps_a_second": together}


def _train(index: int, settings: Any, barrier: Barrier, answers: Any) -> None:
    try:
        _train_in_turns(index, settings, barrier, answers)
    except Exception as error:  # noqa: BLE001 - whatever it is, the others must not wait for this one
        answers.put(f"{type(error).__name__}: {error}")


def _train_in_turns(
    index: int, settings: tuple[Sequence[int], str, int, float, str], barrier: Barrier, answers: Any
) -> None:
    from graph import trainer_of  # in the folder of this script, which is that of the process

    counts, device, width, seconds, row = settings
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_of(row, "auto", device, width, folder)
        for _ in range(6):  # the last ones replay a CUDA graph
            trainer.one_step()
        trainer.check()
        for count in counts:
            barrier.wait()
            if index >= count:
                continue
            began, steps = time.perf_counter(), 0
            while time.perf_counter() < began + seconds:
                for _ in range(CHECKED_EVERY if device == "cuda" else 1):
                    trainer.one_step()
                    steps += 1
                trainer.check()
            answers.put((count, steps / (time.perf_counter() - began)))


def main(arguments: list[str] | None = None) -> int:
    """Measure as the command line says, print and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cpu", "cuda"))
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--row", default="A+B+C")
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--without-mps", action="store_true", help="let the processes take turns")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    if min(options.counts) < 1 or options.seconds <= 0:
        parser.error("--counts and --seconds must be above 0")
    result = measure(
        options.counts, options.device, options.width, options.seconds, mps=not options.without_mps, row=options.row
    )
    for count, rate in result["steps_a_second"].items():
        print(f"{count} of {options.row}: {rate:.1f} steps/s together")
    print(f"sharing: {result['sharing']}")
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
