"""What `pip install` brings: the packages with their types and data, the recipes, and the licence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import genprior

ROOT = Path(genprior.__file__).parents[1]
PLUGINS = ("genprior_std", "genprior_report", "genprior_explore")
"""The plugins that come with genprior."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the source distribution, and of the wheel that is built from it."""
    out = tmp_path_factory.mktemp("built")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, cwd=out, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_the_wheel_holds_its_packages_whole(built: Path) -> None:
    (file,) = built.glob("*.whl")
    with zipfile.ZipFile(file) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    sources = {
        str(path.relative_to(parent))
        for parent, package in ((ROOT, "genprior"), *((ROOT / "plugins", plugin) for plugin in PLUGINS))
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
    offered = {"std = genprior_std", "report = genprior_report", "report = genprior_report.command:report"}
    assert {*offered, "explore = genprior_explore.command:explore"} <= set(points.splitlines())


def test_the_sources_hold_the_licence_and_all_recipes(built: Path) -> None:
    (file,) = built.glob("*.tar.gz")
    with tarfile.open(file) as sources:
        held = {name.partition("/")[2] for name in sources.getnames()}
    recipes = {str(path.relative_to(ROOT)) for path in (ROOT / "recipes").rglob("*.toml")}
    assert len(recipes) > 20
    texts = {"LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "SECURITY.md"}
    assert {*texts, "pyproject.toml", "genprior/py.typed", *recipes} <= held
    # The tests, the documentation and the plugins that are packages of their own are in the repository alone.
    assert {name.partition("/")[0] for name in held if "/" in name} == {"genprior", "plugins", "recipes"}
    shipped = tuple(f"plugins/{plugin}/" for plugin in PLUGINS)
    assert not [name for name in held if name.startswith("plugins/") and not name.startswith(shipped)]


def run(command: list[str], folder: Path, **environment: str) -> str:
    """What a command prints in a folder without the sources."""
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=inherited | environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_files_of_the_wheel_work_without_a_clone(built: Path, tmp_path: Path) -> None:
    (file,) = built.glob("*.whl")
    inside, here = tmp_path / "site", tmp_path / "here"
    here.mkdir()
    with zipfile.ZipFile(file) as wheel:
        wheel.extractall(inside)
    listed = json.loads(run([sys.executable, "-m", "genprior", "recipes", "--json"], here, PYTHONPATH=str(inside)))
    assert len(listed) == len(list((ROOT / "recipes").rglob("*.toml")))
    assert all(Path(each["file"]).is_relative_to(inside / "genprior" / "recipes") for each in listed)
    command = [sys.executable, "-m", "genprior", "check", "gans/began", "--with", "quick"]
    assert "ok: 1 row" in run(command, here, PYTHONPATH=str(inside))


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".whl", ".tar.gz"])
def test_a_fresh_environment_has_recipes_and_trains(built: Path, ending: str, tmp_path: Path) -> None:
    """The environment has what genprior requires by a path to the packages here, and genprior itself from the file."""
    (file,) = built.glob(f"*{ending}")
    home, here = tmp_path / "environment", tmp_path / "here"
    here.mkdir()
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    site = Path(run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], here).strip())
    paths = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    (site / "parent.pth").write_text("\n".join(paths) + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index"]
    run([*pip, "--no-build-isolation", "--ignore-installed", "--quiet", "--disable-pip-version-check", str(file)], here)
    genprior_command = str(home / "bin" / "genprior")
    assert run([genprior_command, "--version"], here).strip() == f"genprior {genprior.__version__}"
    listed = json.loads(run([genprior_command, "recipes", "--json"], here))
    assert all(Path(each["file"]).is_relative_to(site) for each in listed) and len(listed) > 30
    told = json.loads(run([genprior_command, "doctor", "--json"], here))
    (own,) = [each["text"] for each in told["findings"] if (each["section"], each["name"]) == ("versions", "genprior")]
    assert own == f"{genprior.__version__}, {site / 'genprior'}"
    train = [genprior_command, "train", "table3_ablation", "--with", "quick", "--rows", "AAE"]
    run([*train, "--set", "run.steps=2", "--set", "scores=[]", "--jobs", "1"], here)
    assert (here / "runs" / "table3_ablation-quick" / "table.md").is_file()


def test_the_licence_is_the_one_that_is_named() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("MIT License\n\nCopyright (c) 2026 the genprior authors\n")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (project["license"], project["license-files"]) == ("MIT", ["LICENSE"])
