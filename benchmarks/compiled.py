"""Steps with compiled networks against steps without, on this processor: `python benchmarks/compiled.py --help`.

    OMP_NUM_THREADS=1 python benchmarks/compiled.py

Rows of Table 3 with the change `quick`. Both trainings are in one process and take turns; time is processor time, which
other work on the machine disturbs least. Compilation is timed with the processes that it starts; in an empty folder of
TORCHINDUCTOR_CACHE_DIR it is cold, and once more in the same folder it is warm. A GPU: `gpu/graph.py --compiled`.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

import torch
from speed import alternate, quartiles

import genprior
from genprior.runs.trainer import Trainer

__all__ = ["compare", "main"]

RECIPE = Path(__file__).parents[1] / "recipes" / "table3_ablation.toml"


def _trainer(row: str, precision: str, folder: str, *, compiled: bool) -> Trainer:
    settings = ["scores=[]", f'run.precision="{precision}"', f"run.compile={str(compiled).lower()}"]
    plan = genprior.load_recipe(RECIPE, changes=["quick"], rows=[row], settings=settings).plans[0]
    trainer = Trainer(plan, 0, Path(folder), device="cpu")
    trainer.prepare()
    trainer.model.train()
    return trainer


def _seconds() -> float:
    """Processor time of this process, and of those that it started and that have ended."""
    started = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + started.ru_utime + started.ru_stime


def compare(row: str, precision: str, rounds: int, steps: int) -> str:
    """A line of the table: compilation, milliseconds a step, and how many times as fast compiled steps are."""
    with tempfile.TemporaryDirectory() as folder:
        plain, other = (_trainer(row, precision, f"{folder}/{each}", compiled=each) for each in (False, True))
        began = _seconds()
        other.compile_networks()
        compilation = _seconds() - began

        def timed(trainer: Trainer, steps: int) -> float:
            began = time.process_time()
            for _ in range(steps):
                trainer.one_step()
            return time.process_time() - began

        loops = {"plain": lambda n: timed(plain, n), "compiled": lambda n: timed(other, n)}
        alternate(loops, 1, 2)
        seconds = alternate(loops, rounds, steps)
    low, middle, high = quartiles([one / two for one, two in zip(seconds["plain"], seconds["compiled"], strict=True)])
    left_out = 0 if other.compiled is None else sum(map(len, other.compiled.facts()["eager"].values()))
    times = [f"{1e3 * statistics.median(each):.1f}" for each in seconds.values()]
    return (
        f"| {row}, {precision} | {' | '.join(times)} | {middle:.2f} [{low:.2f}, {high:.2f}] | {compilation:.0f} | "
        f"{left_out} |"
    )


def main(arguments: list[str] | None = None) -> int:
    """Compare as the command line says, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=["AAE", "A+B+C"])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"], choices=("fp32", "bf16"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=2, help="training steps of each in a round")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print("| row | ms a step | compiled | times as fast | compilation, s of processor time | networks left out |")
    print("|---|---:|---:|---|---:|---:|")
    for row in options.rows:
        for precision in options.precisions:
            print(compare(row, precision, options.rounds, options.steps), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
