"""One sitting on a machine with a GPU and no network, from the kit to what is brought back, in one command.

    python3 sit.py WORK OUT [--back FOLDER] [--minutes 12] [--device cuda] [--mnist]

The kit is the folder of this script. It is unpacked into WORK, and so is what an earlier sitting brought back (--back).
Then the jobs of sitting.json run in order, each within its own limit, or with --mnist those of mnist.json all at once.
OUT receives at most 8 files of 16 MB, 60 MB together, also when a job fails; `pack.py join OUT FOLDER` opens them. The
whole takes at most --minutes. Exit status as of run.py, or 2 if nothing could begin. What is already unpacked in WORK
stays as it is.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import images
import pack
import run

__all__ = ["environment", "main", "missing_wheels", "prepare", "words"]

HERE = Path(__file__).resolve().parent
PACKING = 20.0
"""Seconds at the end in which results are packed."""
GRACE = 25.0
"""Seconds in which a training writes its checkpoints."""
FILES, FILE_MB, TOTAL_MB = 8, 16, 60
STEPS_OF_AN_EPOCH = 781


def prepare(kit: Path, work: Path, back: Path | None) -> None:
    """Unpack the kit, the images and earlier results, and install the wheels of packages that are missing here.

    Raises:
        pack.Damaged: pieces are missing or damaged.
        ValueError: the images are not those that were packed.
        subprocess.CalledProcessError: pip refused a wheel.
    """
    mark = work / "kit.json"
    manifest = kit / pack.MANIFEST
    if not mark.exists() or not manifest.exists() or mark.read_bytes() != manifest.read_bytes():
        pack.join(kit, work)
        (work / "data").mkdir(exist_ok=True)
        for squeezed in sorted((work / "squeezed").glob("*.squeezed")):
            images.expand(squeezed, work / "data" / f"{squeezed.stem}.safetensors")
        found = missing_wheels(work / "wheels")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--upgrade"]
        subprocess.run([*command, "--target", str(work / "site"), *map(str, found)], check=True)
        shutil.copy2(manifest, mark)
    if back is not None and not (work / "state.json").exists():
        pack.join(back, work)


def missing_wheels(folder: Path) -> list[Path]:
    """The wheels of packages that are not installed here, and always that of the project itself."""
    return [
        path
        for path in sorted(folder.glob("*.whl"))
        if path.name.startswith("genprior-") or not _installed(path.name.partition("-")[0])
    ]


def _installed(name: str) -> bool:
    # A wheel's name has underscores where that of the package may have others.
    for form in {name, name.replace("_", "-")}:
        try:
            importlib.metadata.version(form)
        except importlib.metadata.PackageNotFoundError:
            continue
        return True
    return False


def words(command: list[str], project: Path, values: dict[str, str]) -> list[str]:
    """A job's command with its placeholders filled in; `{gpu_tests}` becomes the files with tests that need a GPU."""
    filled: list[str] = []
    for word in command:
        if word == "{gpu_tests}":
            tests = sorted((project / "tests").rglob("test_*.py"))
            marked = [each for each in tests if re.search(r"mark\.gpu\b", each.read_text(encoding="utf-8"))]
            filled += [str(each.relative_to(project)) for each in marked]
            continue
        for name, value in values.items():
            word = word.replace("{" + name + "}", value)
        filled.append(word)
    return filled


def environment(work: Path) -> dict[str, str]:
    """Variables of all jobs: the carried packages and data, and no reports, whose Plotly the kit leaves out."""
    return {"PYTHONPATH": str(work / "site"), "GENPRIOR_DATA": str(work / "data"), "GENPRIOR_REPORT": "off"}


def main(arguments: list[str] | None = None) -> int:
    """Sit, as the command line says."""
    began = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--back", type=Path, help="the folder that an earlier sitting brought back")
    parser.add_argument("--minutes", type=float, default=12, help="length of the sitting, all included")
    parser.add_argument("--device", default="cuda", help="device of all jobs")
    parser.add_argument("--epochs", type=int, default=100, help="epochs of the rows of Table 3")
    parser.add_argument("--quick", action="store_true", help="the jobs' quick commands, as a rehearsal")
    parser.add_argument("--mnist", action="store_true", help="the jobs of mnist.json, all at once")
    parser.add_argument("--again", action="store_true", help="retry jobs that failed")
    options = parser.parse_args(arguments)
    work, out = options.work.resolve(), options.out.resolve()
    back = options.back.resolve() if options.back else None
    try:
        prepare(HERE, work, back)
    except (pack.Damaged, OSError, ValueError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"ready after {time.monotonic() - began:.0f} s", flush=True)
    project, results = work / "project", work / "results"
    results.mkdir(exist_ok=True)
    values = {
        "device": options.device,
        "work": str(work),
        "results": str(results),
        "steps": str(STEPS_OF_AN_EPOCH * options.epochs),
    }
    jobs = json.loads((HERE / ("mnist.json" if options.mnist else "sitting.json")).read_text(encoding="utf-8"))
    for job in jobs:
        job["command"] = words(job["quick"] if options.quick else job["command"], project, values)
    os.environ.update(environment(work))
    os.chdir(project)
    seconds = options.minutes * 60 - (time.monotonic() - began) - PACKING
    all_of_them = run.together if options.mnist else run.sitting
    code = all_of_them(jobs, work / "state.json", seconds, GRACE, options.again)
    _bring(work, out)
    print(f"{len(list(out.iterdir()))} files in {out} after {time.monotonic() - began:.0f} s", flush=True)
    return code


def _bring(work: Path, out: Path) -> None:
    """Pack the state, logs, results and runs into OUT; without checkpoints if those cannot be read."""
    stage = work / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir()
    shutil.copy2(work / "state.json", stage / "state.json")
    for folder in ("logs", "results"):
        if (work / folder).exists():
            shutil.copytree(work / folder, stage / folder)
    for log in (stage / "logs").glob("*.log"):
        log.write_bytes(log.read_bytes()[-200_000:])
    if (work / "runs").exists():
        command = [sys.executable, "benchmarks/gpu/bring.py", str(work / "runs"), str(stage)]
        subprocess.run([*command, "--megabytes", str(TOTAL_MB - 5)], check=False)
    items = {path.name: path for path in stage.iterdir()}
    pieces = pack.pack(out, items, FILE_MB * 10**6, gzipped=True)
    if len(pieces) >= FILES or sum(piece["bytes"] for piece in pieces) > TOTAL_MB * 10**6:
        print(f"{len(pieces)} files are more than {FILES - 1} of {FILE_MB} MB; bring back the first ones", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
