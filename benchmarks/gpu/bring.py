"""Collect what a sitting brings back, at most so many bytes: records first, then checkpoints as far as they fit.

    python3 bring.py RUNS STAGE --megabytes 60

All small files of the runs go to STAGE/runs. Of the newest checkpoints, in this order, as long as there is room:
whole ones of unfinished runs, which resume; of finished runs the weights without the optimisers' moments, which load
and sample but cannot be trained further; of others only the weights that make images, in `weights/` of the run folder.
STAGE/left_out.txt names what did not fit. It runs where `genprior` is installed.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from safetensors.torch import save_file

from genprior.storage import checkpoint

__all__ = ["bring", "main"]

SMALL = 2 * 10**6
"""Bytes of the largest file that counts as small: records and pictures."""
WITHOUT_MOMENTS = ("model/", "average/", "evaluation/")


def bring(runs: Path, stage: Path, room: int) -> list[str]:
    """Copy records and checkpoints of all run folders in `runs` to `stage`/runs.

    Args:
        runs: the folder of runs.
        stage: where they go.
        room: bytes for records and checkpoints together; records are copied even if they alone take more.

    Returns:
        What was left out, a line each.
    """
    left_out = []
    for path in sorted(runs.rglob("*")):
        place = path.relative_to(runs)
        if path.is_dir() or "checkpoints" in place.parts or path.name == ".lock":
            continue
        if path.stat().st_size > SMALL:
            left_out.append(f"{place}: {path.stat().st_size / 1e6:.0f} MB")
            continue
        (stage / "runs" / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, stage / "runs" / place)
        room -= path.stat().st_size
    finished = {path.parent: _finished(path) for path in runs.rglob("run.json")}
    newest = {folder: checkpoint.latest(folder / "checkpoints") for folder in finished}
    found = [(folder, path) for folder, path in newest.items() if path is not None]
    found.sort(key=lambda one: (-checkpoint.step_of(one[1]), str(one[0])))
    for folder, path in list(found):
        whole = path.stat().st_size + path.with_suffix(".json").stat().st_size
        if not finished[folder] and whole <= room:
            target = stage / "runs" / folder.relative_to(runs) / "checkpoints"
            target.mkdir(parents=True, exist_ok=True)
            for each in (path, path.with_suffix(".json")):
                shutil.copy2(each, target / each.name)
            room -= whole
            found.remove((folder, path))
    for folder, path in sorted(found, key=lambda one: not finished[one[0]]):
        place = folder.relative_to(runs)
        taken, what = _weights(path, stage / "runs" / place, finished[folder], room)
        room -= taken
        left_out.append(f"{place}: {what}")
    (stage / "left_out.txt").write_text("".join(f"{line}\n" for line in left_out), encoding="utf-8")
    return left_out


def _finished(path: Path) -> bool:
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")).get("finished"))
    except (OSError, ValueError, AttributeError):
        return False


def _weights(path: Path, target: Path, finished: bool, room: int) -> tuple[int, str]:
    """Bring as many weights of a checkpoint as fit; returns their bytes, and what was left out."""
    whole = path.stat().st_size
    saved = checkpoint.read(path, "cpu")
    kept = {name: tensor for name, tensor in saved.tensors.items() if name.startswith(WITHOUT_MOMENTS)}
    size = sum(tensor.numel() * tensor.element_size() for tensor in kept.values()) + 10**5
    if finished and size <= room:
        facts = {key: value for key, value in saved.facts.items() if key not in ("format", "step", "sha256")}
        checkpoint.write(target / "checkpoints", saved.step, kept, facts)
        return size, "moments of the optimisers"
    averaged = {name: tensor for name, tensor in kept.items() if name.startswith("average/")}
    size = sum(tensor.numel() * tensor.element_size() for tensor in averaged.values()) + 10**5
    if averaged and size <= room:
        (target / "weights").mkdir(parents=True, exist_ok=True)
        save_file(averaged, target / "weights" / path.name)
        return size, f"checkpoint at step {saved.step}, {whole / 1e6:.0f} MB, but for the averaged weights"
    return 0, f"checkpoint at step {saved.step}, {whole / 1e6:.0f} MB"


def main(arguments: list[str] | None = None) -> int:
    """Collect, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("stage", type=Path)
    parser.add_argument("--megabytes", type=float, default=60)
    options = parser.parse_args(arguments)
    for line in bring(options.runs, options.stage, int(options.megabytes * 10**6)):
        print(f"left out: {line}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
