"""The package that `genprior new` writes, for every kind: it is found, passes its tests, trains, and is well formed."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest

from genprior.registry import KINDS

from ..plugins.test_ring_installed import environment_with, run, wheel_of
from .packages import KINDS_TO_WRITE, ROOT, Packages

TRAIN = """
import json, os, runpy, sys
from pathlib import Path
from typer.testing import CliRunner
import genprior
from genprior.cli.app import app
from genprior.registry import installed

def finish(kind, names, home):
    os.chdir(home / kind)
    if Path("make_digits.py").exists():
        runpy.run_path("make_digits.py")
    file = f"{names['name']}.toml"
    whole = genprior.load_recipe(file)  # as it stands
    scores = f'scores=[{{name="{names["name"]}",samples=8}}]' if kind == "score" else "scores=[]"
    short = ["run.steps=2", "run.log_every=1", "run.fit.steps=2", "run.hooks.pictures.enabled=false", scores]
    genprior.train(genprior.load_recipe(file, settings=short), out=f"runs/{names['name']}", device="cpu")
    runs = [genprior.load_run(path.parent) for path in sorted(Path("runs").glob("*/[!.]*/*/run.json"))]
    part = installed().find("prior" if kind == "fitted_prior" else kind, names["name"])
    used = None
    if kind == "exporter":
        genprior.export(runs[0].folder, "images.pt", n=3)
        used = [3, 1, 8, 8] == list(__import__("torch").load("images.pt", weights_only=True).shape)
    if kind == "figure":
        used = CliRunner().invoke(app, ["figure", names["name"]]).exit_code == 0 and Path("figures").exists()
    if kind == "hook":
        used = len(Path(runs[0].folder, names["name"], "diary.jsonl").read_text().splitlines()) == 3
    if kind == "score":
        used = names["name"] in json.loads(Path(runs[0].folder, "scores.json").read_text())
    return {
        "rows": [plan.label for plan in whole.plans], "finished": [run.label for run in runs if run.finished],
        "origin": str(installed().origin(part)), "named": f"name='{part.name}'" in repr(whole.plans), "used": used,
    }

packages = json.loads(sys.argv[1])
home = Path.cwd()
done = {kind: finish(kind, names, home) for kind, names in packages.items()}
print("RESULT" + json.dumps(done))
"""


@pytest.fixture(scope="module")
def trained(packages: Packages) -> dict[str, Any]:
    """What came of the recipe of each package, all in one process."""
    about = {kind: {"name": each.name, "module": each.module} for kind, each in packages.names.items()}
    done = packages.run("-c", textwrap.dedent(TRAIN), json.dumps(about))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return json.loads(done.stdout.rpartition("RESULT")[2])


def test_every_kind_of_the_registry_has_templates() -> None:
    assert set(KINDS_TO_WRITE) == {*KINDS, "fitted_prior"}


@pytest.mark.parametrize("kind", KINDS_TO_WRITE)
def test_a_package_is_found_and_its_recipe_trains(kind: str, trained: dict[str, Any]) -> None:
    name, seen = f"own_{kind}", trained[kind]
    assert seen["origin"] == f"plugin '{name}' (genprior-own-{kind.replace('_', '-')} 0.1.0)"
    assert len(seen["rows"]) == 2
    assert sorted(seen["finished"]) == sorted(seen["rows"])
    assert seen["named"] == (kind not in ("exporter", "figure"))  # which no recipe names
    assert seen["used"] is not False


def test_the_tests_of_all_packages_pass(packages: Packages) -> None:
    files = [str(packages.home / kind / "tests") for kind in KINDS_TO_WRITE]
    options = ["-q", "-W", "error", "-p", "no:cacheprovider", "--import-mode=importlib", "-c", "/dev/null"]
    done = packages.run("-m", "pytest", *options, "--rootdir", str(packages.home), *files)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert int(done.stdout.split(" passed")[0].split()[-1]) > len(KINDS_TO_WRITE)
    assert "skipped" not in done.stdout


@pytest.mark.parametrize("kind", KINDS_TO_WRITE)
def test_a_package_passes_ruff(kind: str, packages: Packages) -> None:
    for command in (["check"], ["format", "--check"]):
        done = packages.run("-m", "ruff", *command, "--no-cache", ".", folder=packages.home / kind)
        assert done.returncode == 0, done.stdout


def test_its_rules_are_those_of_genprior(packages: Packages) -> None:
    of_genprior, of_package = (
        tomllib.loads((folder / "pyproject.toml").read_text())["tool"] for folder in (ROOT, packages.home / "prior")
    )
    for key in ("select", "ignore", "pydocstyle"):
        assert of_package["ruff"]["lint"][key] == of_genprior["ruff"]["lint"][key]
    assert of_package["ruff"]["line-length"] == of_genprior["ruff"]["line-length"]
    assert of_package["mypy"]["strict"] is of_genprior["mypy"]["strict"] is True


@pytest.mark.slow
def test_all_packages_pass_mypy(packages: Packages) -> None:
    sources = [str(path) for path in packages.home.glob("*/src/*.py")]
    assert len(sources) == len(KINDS_TO_WRITE)
    config = str(packages.home / "prior" / "pyproject.toml")
    done = packages.run("-m", "mypy", "--config-file", config, "--cache-dir", str(packages.home / "mypy"), *sources)
    assert done.returncode == 0, done.stdout


def test_it_installs_with_pip(packages: Packages, tmp_path: Path) -> None:
    folder = packages.home / "prior"
    python = environment_with(wheel_of(folder, tmp_path), tmp_path / "wheel")
    said = run([str(python), "-m", "genprior", "parts", "prior", "own_prior"], tmp_path).stdout
    assert "plugin 'own_prior' (genprior-own-prior 0.1.0)" in " ".join(said.split())


def test_it_installs_in_place(packages: Packages, tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="pip install -e needs hatchling here, because it downloads nothing")
    place = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--target", str(place), "-e"]
    done = subprocess.run([*pip, str(packages.home / "prior")], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    (about,) = place.glob("genprior_own_prior-0.1.0.dist-info")
    assert "own_prior = genprior_own_prior" in (about / "entry_points.txt").read_text()
    assert str(packages.home / "prior" / "src") in "".join(path.read_text() for path in place.glob("*.pth"))


@pytest.mark.parametrize("kind", KINDS_TO_WRITE)
def test_the_readme_names_the_files_and_commands(kind: str, packages: Packages) -> None:
    folder, names = packages.home / kind, packages.names[kind]
    text = (folder / "README.md").read_text()
    for file in (f"src/{names.module}.py", f"tests/test_{names.name}.py", f"{names.name}.toml", "pyproject.toml"):
        assert f"`{file}`" in text and (folder / file).exists()
    assert f"genprior train {names.name}.toml" in text and "$" not in text
