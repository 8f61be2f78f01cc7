"""The example plugin, as a user installs it: its wheel built, installed in a fresh environment, found and trained."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import textwrap
import venv
import zipfile
from pathlib import Path

import pytest

import genprior

from ..small import aae

ROOT = Path(genprior.__file__).parents[1]
RING = ROOT / "plugins" / "genprior_ring"

TRAIN = """
import tomllib
import genprior
from genprior.registry import installed
from pathlib import Path

print(installed().origin(installed().find("prior", "ring")), installed().broken)
recipe = genprior.load_recipe("ring.toml")
genprior.train(recipe, out="runs", device="cpu")
run = genprior.load_run("runs/base/seed-0")
assert run.finished
images = run.sample(6)
assert tuple(images.shape) == (6, 1, 8, 8), images.shape
resolved = tomllib.loads(Path("runs/base/seed-0/recipe.toml").read_text())
print(resolved["model"]["prior"])
"""

RECIPE = """
title = "a ring"
data = { name = "digits", size = 8 }
optimiser.default = { name = "adam", lr = 1e-3 }
[run]
steps = 3
batch = 8
""" + aae(code_size=2, prior='{ name = "ring", radius = 1.5 }')


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def wheel_of(package: Path, out: Path) -> Path:
    """Build the wheel of a package into a folder."""
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(package)], out)
    (made,) = out.glob("*.whl")
    return made


def environment_with(wheel: Path, folder: Path) -> Path:
    """The Python of an environment of its own that sees the packages of this one, and has the wheel installed."""
    venv.create(folder, with_pip=False, symlinks=True)
    found = folder / "bin" / "python"
    inside = Path(
        run([str(found), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).stdout.strip()
    )
    # The parent's packages come as a path alone; `site.addsitedir` would run its .pth files too, so they are named.
    paths = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), str(ROOT), str(ROOT / "plugins")]
    (inside / "parent.pth").write_text("\n".join(dict.fromkeys(paths)) + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(found), "install", "--no-deps", "--no-index", "--quiet"]
    run([*pip, "--disable-pip-version-check", str(wheel)], folder)
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel_of(RING, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment_with(wheel, tmp_path_factory.mktemp("environment"))


def test_the_wheel_holds_the_module_and_its_entry_point(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as held:
        assert "genprior_ring.py" in held.namelist()
        assert not [name for name in held.namelist() if name.startswith(("src/", "tests/", "genprior/"))]
        (entries,) = [name for name in held.namelist() if name.endswith("entry_points.txt")]
        assert "[genprior]\nring = genprior_ring" in held.read(entries).decode()
        (metadata,) = [name for name in held.namelist() if name.endswith("METADATA")]
        assert "Requires-Dist: genprior<0.3,>=0.2" in held.read(metadata).decode()


def test_it_is_found_and_trains(python: Path, tmp_path: Path) -> None:
    (tmp_path / "ring.toml").write_text(RECIPE)
    done = run([str(python), "-c", textwrap.dedent(TRAIN)], tmp_path)
    assert "plugin 'ring' (genprior-ring 0.1.0) []" in done.stdout
    assert "'name': 'ring'" in done.stdout
    assert "'radius': 1.5" in done.stdout
    assert "'thickness': 0.2" in done.stdout


def test_its_own_tests_pass(python: Path, tmp_path: Path) -> None:
    command = [
        str(python),
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(RING / "tests"),
    ]
    said = run(command, tmp_path).stdout
    assert "4 passed" in said
    assert "skipped" not in said
