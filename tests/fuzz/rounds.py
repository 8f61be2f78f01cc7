"""Fuzzing for some minutes; the input of every new failure is written into a folder."""

from __future__ import annotations

import collections
import functools
import hashlib
import os
import shutil
import tempfile
import time
import traceback
from pathlib import Path
from random import Random

from .guard import outcome, signature
from .targets import TARGETS, Workbench


def fuzz(minutes: float, seed: int, out: Path, names: list[str]) -> int:
    """Give mutated inputs to every target in turn; prints rounds and distinct failures, and returns their number."""
    found: dict[str, int] = collections.Counter()
    rounds: dict[str, int] = collections.Counter()
    accepted: dict[str, int] = collections.Counter()
    spent: dict[str, float] = collections.Counter()
    with tempfile.TemporaryDirectory() as place:
        os.environ["GENPRIOR_DATA"] = str(Path(place, "cache"))
        bench = Workbench(Path(place, "bench"))
        work = Path(place, "work")
        end = time.monotonic() + 60 * minutes
        random = Random(seed)
        while time.monotonic() < end:
            # Each target gets the same time.
            name = min(names, key=lambda each: spent[each])
            target = TARGETS[name]
            content = target.draw(random, bench)
            work.mkdir()
            began = time.monotonic()
            try:
                text = outcome(functools.partial(target.run, content, work, bench), Path(place))
                accepted[name] += text == "ok"
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                key = f"{name}: {signature(error)}"
                found[key] += 1
                if found[key] == 1:
                    file = out / f"{name}-{hashlib.sha256(content).hexdigest()[:8]}{target.suffix}"
                    out.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(content)
                    print(f"\n{key}\n  {file}", flush=True)
                    print("".join(traceback.format_exception(error)[-4:])[-1500:], flush=True)
            rounds[name] += 1
            spent[name] += time.monotonic() - began
            shutil.rmtree(work)
    print(f"\n{sum(rounds.values()):,} rounds in {minutes:g} minutes, seed {seed}; {len(found)} distinct failures")
    for name in names:
        print(f"  {name}: {rounds[name]:,} rounds, {accepted[name]:,} accepted")
    for key, count in sorted(found.items()):
        print(f"  {count:,} x {key}")
    return len(found)
