"""Fuzzing guided by coverage, where atheris is installed: `python tests/fuzz/with_atheris.py TARGET MINUTES`.

It mutates bytes, and keeps inputs that reach new lines of genprior; it begins with inputs of the target. It ends at the
first failure, whose input it writes into `fuzz-failures`.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
import tempfile
from pathlib import Path
from random import Random

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
with atheris.instrument_imports(include=["genprior", "genprior_std"]):
    from fuzz.guard import outcome
    from fuzz.targets import TARGETS, Workbench

BEGIN = 50
"""Inputs to begin with."""


def main(name: str, minutes: str) -> None:
    """Fuzz one target."""
    target = TARGETS[name]
    place = Path(tempfile.mkdtemp(prefix="fuzz-"))
    os.environ["GENPRIOR_DATA"] = str(place / "cache")
    bench, work, seeds = Workbench(place / "bench"), place / "work", place / "inputs"
    seeds.mkdir()
    Path("fuzz-failures").mkdir(exist_ok=True)
    for number in range(BEGIN):
        (seeds / str(number)).write_bytes(target.draw(Random(number), bench))

    def one_input(content: bytes) -> None:
        if target.suffix == ".txt":  # an argument, or files of texts
            content = content.decode("utf-8", "replace").encode()
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        outcome(functools.partial(target.run, content, work, bench), place)

    limits = [f"-max_total_time={int(60 * float(minutes))}", "-rss_limit_mb=0", "-timeout=300", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], str(seeds), "-artifact_prefix=fuzz-failures/", *limits], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:3])
