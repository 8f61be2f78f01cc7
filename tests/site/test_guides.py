"""The guides are correct: their Python runs, and their commands resolve."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import genprior
from genprior.cli.app import app
from genprior.registry import installed

from .pages import ROOT

DOCS = ROOT / "docs"
GUIDES = ["quick-start", "concepts", "how-to", "coming-from-pythae", "coming-from-torch-fidelity"]
TEXT = {page: (DOCS / f"{page}.md").read_text(encoding="utf-8") for page in GUIDES}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT[page], re.S)


def lines(page: str) -> list[str]:
    """The commands of a page, each in a line."""
    return [
        line.partition("#")[0].strip()
        for block in blocks(page, "bash")
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("genprior ")
    ]


def test_the_python_of_how_to_runs(monkeypatch, tmp_path, clean_session, no_curves, capfd):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "page"}
    for block in blocks("how-to", "python"):
        exec(compile(block, "docs/how-to.md", "exec"), names)  # noqa: S102
    assert names["images"].shape == (16, 1, 16, 16)
    assert 0 <= names["numbers"]["ink"] <= 255
    assert len(blocks("how-to", "python")) == 3


def test_the_python_of_the_quick_start_runs(monkeypatch, tmp_path, no_curves, capfd):
    """After its training, made short."""
    monkeypatch.chdir(tmp_path)
    (command,) = [line for line in lines("quick-start") if line.startswith("genprior train") and "--set" not in line]
    short = [*shlex.split(command)[1:], "--set", "run.steps=2", "--set", "scores=[]", "--jobs", "1"]
    done = CliRunner().invoke(app, short)
    assert done.exit_code == 0, done.output
    (code,) = blocks("quick-start", "python")
    names: dict = {}
    exec(compile(code, "docs/quick-start.md", "exec"), names)  # noqa: S102
    assert names["images"].shape == (64, 1, 16, 16)
    (sample,) = [line for line in lines("quick-start") if line.startswith("genprior sample")]
    assert CliRunner().invoke(app, shlex.split(sample)[1:]).exit_code == 0 and Path("new.png").exists()


@pytest.mark.parametrize("line", sorted({line for page in GUIDES for line in lines(page)}))
def test_every_command_exists_with_its_options(line: str) -> None:
    words = shlex.split(line)[1:]
    shown = CliRunner().invoke(app, [words[0], "--help"], env={"COLUMNS": "300"})
    assert shown.exit_code == 0
    for option in (word for word in words if word.startswith("--")):
        assert option in shown.output, option


TRAINED = [line for page in GUIDES for line in lines(page) if line.split()[1] == "train"]


@pytest.mark.parametrize("line", [line for line in TRAINED if "my/images" not in line])
def test_what_is_trained_resolves(line: str, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    recipe, words = shlex.split(line)[2], shlex.split(line)[3:]
    given: dict[str, list[str]] = {}
    for option, value in zip(words[::2], words[1::2], strict=True):
        given.setdefault(option, []).append(value)
    rows = given.get("--rows", [""])[0].split(",") if "--rows" in given else None
    loaded = genprior.load_recipe(recipe, changes=given.get("--with", []), settings=given.get("--set", []), rows=rows)
    assert loaded.plans


def test_own_images_of_the_guide_train(monkeypatch, tmp_path, no_curves):
    (line,) = [line for line in TRAINED if "my/images" in line]
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my" / "images"
    folder.mkdir(parents=True)
    for at in range(60):
        image = torch.randint(256, (3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(at))
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{at}.png")
    words = [*shlex.split(line)[1:], "--set", "run.steps=1", "--jobs", "1", "--set", "run.batch=8"]
    words[words.index("--rows") + 1] = "AAE"
    words = [word.replace("samples=2000", "samples=50") for word in words]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output


def test_the_recipe_of_the_concepts_is_that_of_table_3() -> None:
    (piece,) = blocks("concepts", "toml")
    whole = tomllib.loads((ROOT / "recipes" / "table3_ablation.toml").read_text(encoding="utf-8"))
    shown = tomllib.loads(piece)
    assert shown["change"]["A"] == whole["change"]["A"] and all(row in whole["row"] for row in shown["row"])


def test_priors_that_the_concepts_name_exist() -> None:
    named = set(re.findall(r"`(\w+)`", TEXT["concepts"].split("## Parts, kinds, plugins")[0]))
    priors = set(installed().names("prior"))
    assert len(priors & named) >= 12 and named - priors == {"fitted_prior"}
