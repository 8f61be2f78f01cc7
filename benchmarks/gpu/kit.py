"""Build the kit for a machine with a GPU and no network: at most two pieces of 60 MB, and the scripts that open them.

    python benchmarks/gpu/kit.py build/kit

It holds this project (its files and its wheel), CIFAR-10 from the cache (see `images.py`; other sets with `--sets`),
and wheels of small packages that such a machine may lack; never torch, torchvision or numpy. Needs pip with a network;
METHOD.md says what follows.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import images
import pack

__all__ = ["build", "main", "wheels"]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SCRIPTS = ("pack.py", "images.py", "run.py", "sit.py", "sitting.json", "mnist.json")
PARTS = (
    "genprior",
    "plugins",
    "recipes",
    "tests",
    "benchmarks",
    "docs",
    "pyproject.toml",
    "constraints.txt",
    "README.md",
)
PIECES = 2
PYTHON = "3.12"
PACKAGES = (
    "annotated-doc annotated-types click execnet filelock hypothesis iniconfig joblib markdown-it-py mdurl packaging "
    "platformdirs pluggy pydantic pydantic-core pygments pytest pytest-timeout pytest-xdist rich safetensors "
    "shellingham sortedcontainers threadpoolctl tomlkit torch-fidelity tqdm typer typing-extensions typing-inspection"
).split()
"""What the project and its tests import beside what `OF_THE_MACHINE` brings."""
OF_THE_MACHINE = "torch torchvision numpy pillow scipy scikit-learn matplotlib jinja2".split()
"""Packages that the machine has, with what they need; torch brings Jinja2."""
LEFT_OUT = ("plotly",)
"""Dependencies of the project that no job imports: Plotly takes 10 MB, and `sit.py` switches reports off."""


def wheels(folder: Path, python: str = PYTHON) -> None:
    """Download the wheels of `PACKAGES` for x86-64 Linux, in the versions of constraints.txt.

    Raises:
        subprocess.CalledProcessError: pip found no network, or no wheel.
    """
    tag = f"cp{python.replace('.', '')}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", python, "--implementation", "cp", "--abi", tag, "--abi", "abi3", "--abi", "none"]
    for platform in ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "any"):
        command += ["--platform", platform]
    command += ["--constraint", str(ROOT / "constraints.txt"), "--dest", str(folder), *PACKAGES]
    subprocess.run(command, check=True)


def build(
    folder: Path, data: Path, *, limit: int = 60 * 10**6, carried: Path | None = None, sets: tuple[str, ...] = ()
) -> list[str]:
    """Write the kit.

    Args:
        folder: where it goes.
        data: the folder of the cached data sets.
        limit: bytes of a piece.
        carried: a folder of wheels to take; by default they are downloaded.
        sets: the files of `data` to take, without their ending; by default those of CIFAR-10.

    Returns:
        A line for each piece.

    Raises:
        ValueError: it takes more than two pieces; they are removed.
        FileNotFoundError: the data is not in the cache.
    """
    sets = sets or ("cifar10-train", "cifar10-test")
    absent = [name for name in sets if not (data / f"{name}.safetensors").exists()]
    if absent:
        raise FileNotFoundError(
            f"{data / absent[0]}.safetensors does not exist; run `genprior check recipes/table3_ablation.toml` where "
            "there is a network, or set GENPRIOR_DATA to the folder that has it"
        )
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        (work / "wheels").mkdir()
        if carried is not None:
            for wheel in carried.glob("*.whl"):
                shutil.copy2(wheel, work / "wheels" / wheel.name)
        else:
            wheels(work / "wheels")
        items = {"project/" + name: path for name, path in _project().items()}
        for name in sets:
            path = data / f"{name}.safetensors"
            if images.are_coloured(path):
                images.squeeze(path, work / f"{name}.squeezed")
                items[f"squeezed/{name}.squeezed"] = work / f"{name}.squeezed"
            else:  # grey ones are small, and gzip suits them
                items[f"data/{name}.safetensors"] = path
        _own_wheel(work)
        items["wheels"] = work / "wheels"
        pieces = pack.pack(folder, items, limit, gzipped=True)
    if len(pieces) > PIECES:
        total = sum(piece["bytes"] for piece in pieces) / 1e6
        for piece in pieces:
            (folder / piece["name"]).unlink()
        (folder / pack.MANIFEST).unlink()
        raise ValueError(
            f"the kit takes {total:.1f} MB, more than {PIECES} pieces of {limit / 1e6:g} MB; leave out a data set"
        )
    for name in SCRIPTS:
        shutil.copy2(HERE / name, folder / name)
    return [f"{piece['name']}: {piece['bytes'] / 1e6:.1f} MB" for piece in pieces]


def _project() -> dict[str, Path]:
    """The files of this project that git knows or would add, without pictures of the documentation."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "--", *PARTS]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return {name: ROOT / name for name in names if not name.startswith("docs/images/") and (ROOT / name).is_file()}


def _own_wheel(work: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(work / "wheels"), str(ROOT)], check=True)


def main(arguments: list[str] | None = None) -> int:
    """Build, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kit", type=Path)
    parser.add_argument("--data", type=Path, help="cached data sets; by default GENPRIOR_DATA, or genprior's own cache")
    parser.add_argument("--wheels", type=Path, help="a folder of wheels to take; by default they are downloaded")
    parser.add_argument("--sets", nargs="+", default=(), help="files of --data without .safetensors; CIFAR-10's two")
    options = parser.parse_args(arguments)
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    data = options.data or Path(os.environ.get("GENPRIOR_DATA", home / "genprior" / "data"))
    try:
        for line in build(options.kit, data, carried=options.wheels, sets=tuple(options.sets)):
            print(line)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"and {', '.join(SCRIPTS)} in {options.kit}; there: python3 {options.kit.name}/sit.py work OUT")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
