"""What `pip install` brings: the packages with their types and data, the licence, and the recipes with the sources."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import genprior

ROOT = Path(genprior.__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the source distribution, and of the wheel that is built from it."""
    out = tmp_path_factory.mktemp("built")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, cwd=out, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_the_wheel_holds_both_packages_whole(built: Path) -> None:
    (file,) = built.glob("*.whl")
    with zipfile.ZipFile(file) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    sources = {
        str(path.relative_to(parent))
        for parent, package in ((ROOT, "genprior"), (ROOT / "plugins", "genprior_std"))
        for path in (parent / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    recipes = {f"genprior/{path.relative_to(ROOT)}" for path in (ROOT / "recipes").rglob("*.toml")}
    assert len(recipes) > 30
    assert held == sources | recipes
    assert {"genprior/py.typed", "genprior_std/py.typed", "genprior_std/expected.toml"} <= held


def test_the_wheel_says_its_licence_and_command(built: Path) -> None:
    (file,) = built.glob("*.whl")
    with zipfile.ZipFile(file) as wheel:
        (metadata,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        told = Parser().parsestr(wheel.read(metadata).decode())
        (licence,) = [name for name in wheel.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
        assert wheel.read(licence) == (ROOT / "LICENSE").read_bytes()
        (entries,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
        points = wheel.read(entries).decode()
    assert told["License-Expression"] == "MIT"
    assert told["License-File"] == "LICENSE"
    assert told["Version"] == genprior.__version__
    assert "genprior = genprior.cli.app:main" in points
    assert "[genprior]\nstd = genprior_std" in points


def test_the_sources_hold_the_licence_and_all_recipes(built: Path) -> None:
    (file,) = built.glob("*.tar.gz")
    with tarfile.open(file) as sources:
        held = {name.partition("/")[2] for name in sources.getnames()}
    recipes = {str(path.relative_to(ROOT)) for path in (ROOT / "recipes").rglob("*.toml")}
    assert len(recipes) > 20
    assert {"LICENSE", "README.md", "pyproject.toml", "genprior/py.typed", *recipes} <= held


def test_the_licence_is_the_one_that_is_named() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("MIT License\n\nCopyright (c) 2026 the genprior authors\n")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (project["license"], project["license-files"]) == ("MIT", ["LICENSE"])
