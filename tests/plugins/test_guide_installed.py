"""The package of the plugin guide, as its reader has it: built, installed, and each of its parts trained and used."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

import genprior
from genprior.registry import KINDS

from .guide import COMMANDS, FILES, GUIDE
from .test_ring_installed import environment_with, run, wheel_of

QUICK = ["--jobs", "1", *(f"--set={each}" for each in ("run.steps=4", "run.log_every=2", "run.fit.steps=4"))]
QUICK += ["--set=run.hooks.pictures.enabled=false", "--device=cpu"]

# In one process, because starting one takes longer than any of the commands.
FOLLOW = """
import json, runpy, sys
from pathlib import Path
from pydantic import BaseModel
import genprior
from genprior.cli.app import main
from genprior.registry import KINDS, installed

failed = []
for program, *arguments in json.loads(sys.argv[1]):
    sys.argv = [program, *arguments]
    if program == "python":
        runpy.run_path(arguments[0], run_name="__main__")
        continue
    try:
        main()
    except SystemExit as end:
        if end.code:
            failed.append([program, *arguments])

def parts_of(value):
    if isinstance(value, genprior.PartConfig):
        yield value.part.kind, value.part.name
    if isinstance(value, BaseModel):
        value = [getattr(value, name) for name in type(value).model_fields]
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from parts_of(each)

runs = [genprior.load_run(path.parent) for path in sorted(Path("runs").rglob("recipe.toml"))]
registry = installed()
parts = [(kind, name) for kind in KINDS for name in registry.names(kind)]
ours = [part for part in parts if registry.origin(registry.find(*part)).plugin == "cross"]
trained = {part for run in runs if run.finished for part in parts_of(run.plan)}
Path("seen.json").write_text(json.dumps({
    "ours": ours, "trained": sorted(trained), "rows": [run.label for run in runs],
    "failed": failed, "broken": [str(each) for each in registry.broken],
    "origin": str(registry.origin(registry.find("prior", "cross"))),
}))
"""


class Used(NamedTuple):
    """The folder in which all commands of the guide were run, and what they left there."""

    folder: Path
    ours: dict[str, set[str]]
    """The names of the package's parts, by kind."""
    trained: dict[str, set[str]]
    """The names of the parts of finished runs, by kind."""
    seen: dict[str, Any]


def by_kind(parts: list[tuple[str, str]]) -> dict[str, set[str]]:
    return {kind: {name for each, name in parts if each == kind} for kind in KINDS}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    package = tmp_path_factory.mktemp("package")
    for name, text in FILES.items():
        (package / name).write_text(text, encoding="utf-8")
    return wheel_of(package, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def used(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Used:
    folder = tmp_path_factory.mktemp("guide")
    python = environment_with(wheel, folder / "environment")
    for name in ("make_digits.py", "cross.toml"):
        (folder / name).write_text(FILES[name], encoding="utf-8")
    install, *others = COMMANDS
    assert install == ["pip", "install", "-e", "."]
    commands = [[*each, *(QUICK if each[:2] == ["genprior", "train"] else [])] for each in others]
    run([str(python), "-c", textwrap.dedent(FOLLOW), json.dumps(commands)], folder)
    seen = json.loads((folder / "seen.json").read_text())
    return Used(folder, by_kind(seen["ours"]), by_kind(seen["trained"]), seen)


# ---------------------------------------------------------------------------------------------------------------------
# The package
# ---------------------------------------------------------------------------------------------------------------------


def test_the_wheel_holds_the_module_and_its_entry_points(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as held:
        assert [name for name in held.namelist() if ".dist-info/" not in name] == ["genprior_cross.py"]
        (entries,) = [name for name in held.namelist() if name.endswith("entry_points.txt")]
        points = held.read(entries).decode()
    assert "[genprior]\ncross = genprior_cross" in points
    assert "[genprior.commands]\nbetween = genprior_cross:between" in points


def test_it_is_found(used: Used) -> None:
    assert used.seen["origin"] == "plugin 'cross' (genprior-cross 0.1.0)"
    assert used.seen["broken"] == []


def test_every_command_of_the_page_succeeds(used: Used) -> None:
    assert used.seen["failed"] == []


def test_every_row_of_its_recipe_is_trained(used: Used) -> None:
    labels = [row["label"] for row in tomllib.loads(FILES["cross.toml"])["row"]]
    assert len(labels) == 7
    assert sorted(used.seen["rows"]) == sorted(labels)


# ---------------------------------------------------------------------------------------------------------------------
# Each kind
# ---------------------------------------------------------------------------------------------------------------------


def folders(used: Used) -> list[Path]:
    found = sorted(path.parent for path in (used.folder / "runs").rglob("scores.json"))
    assert len(found) == 7
    return found


def scores_that_were_measured(used: Used) -> set[str]:
    assert all({"brightness", "level"} <= set(json.loads((each / "scores.json").read_text())) for each in folders(used))
    return used.trained["score"]


def exporters_that_wrote(used: Used) -> set[str]:
    images = torch.load(used.folder / "images.pt", weights_only=True)
    assert (images.shape, images.dtype) == ((100, 1, 8, 8), torch.uint8)
    return {"torch"}


def figures_that_were_drawn(used: Used) -> set[str]:
    files = {path.suffix for path in (used.folder / "figures").glob("two_priors.*")}
    assert files == {".png", ".pdf", ".npz"}
    with np.load(used.folder / "figures" / "two_priors.npz") as arrays:
        assert arrays["images"].shape == (2, 8, 1, 8, 8)
    return {"two_priors"}


def hooks_that_were_called(used: Used) -> set[str]:
    for each in folders(used):
        lines = (each / "diary" / "diary.txt").read_text().splitlines()
        label = each.parent.name
        steps = (1,) if label == "fitted Laplace" else (2, 4)  # a closed form has one step
        assert [re.sub(": {.*", "", line) for line in lines] == [f"{label}, step {step}" for step in steps]
    return used.trained["hook"]


WITNESSES = {
    "score": scores_that_were_measured,
    "exporter": exporters_that_wrote,
    "figure": figures_that_were_drawn,
    "hook": hooks_that_were_called,
}
"""Kinds that leave files when they are used; all others are used if a finished run names them."""


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_installed_and_trained(kind: str, used: Used) -> None:
    assert used.ours[kind], f"docs/writing-a-plugin.md has no example of the kind '{kind}', or does not register it"
    at_work = WITNESSES[kind](used) if kind in WITNESSES else used.trained[kind]
    idle = used.ours[kind] - at_work
    assert not idle, f"cross.toml and the commands of docs/writing-a-plugin.md do not use the {kind} {sorted(idle)}"


def test_fitted_priors_share_the_first_stage_of_the_row_without_one(used: Used) -> None:
    for label in ("fitted Laplace", "fitted chain"):
        facts = json.loads((used.folder / "runs/cross" / label / "seed-0" / "run.json").read_text())
        assert facts["first_stage"]["folder"] == "../../fixed prior/seed-0"
    assert not (used.folder / "runs/cross/.first-stages").exists()


def test_the_hook_function_is_called_in_every_run(used: Used) -> None:
    for each in folders(used):
        assert "genprior-cross==0.1.0" in (each / "cross" / "packages.txt").read_text().splitlines()


def test_the_subcommand_draws_its_picture(used: Used) -> None:
    with Image.open(used.folder / "between.png") as picture:
        assert picture.size == (9 * 10 + 2, 6 * 10 + 2)  # 9 steps for 6 pairs of images of 8 x 8, each with a frame


def test_images_of_a_sentence_are_drawn(used: Used) -> None:
    assert (used.folder / "runs/cross/sentences/seed-0/samples-the-digit-seven.png").exists()


# ---------------------------------------------------------------------------------------------------------------------
# The table at the top
# ---------------------------------------------------------------------------------------------------------------------

ROWS = {
    cells[0]: cells[1:]
    for line in GUIDE.split("\n\n## ", 1)[0].splitlines()
    if line.startswith("| ") and (cells := [cell.strip() for cell in line.strip("|").split("|")])[0] != "kind"
}


def test_the_table_has_every_kind_once() -> None:
    assert sorted(ROWS) == sorted(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_names_the_base_class_its_methods_and_the_check(kind: str) -> None:
    _, base, methods, check, example = ROWS[kind]
    assert base == f"`{KINDS[kind].__name__}`"
    assert getattr(genprior, base.strip("`")) is KINDS[kind]
    named, _, attributes = methods.partition(";")
    assert set(re.findall(r"`(\w+)`", named)) == set(getattr(KINDS[kind], "__abstractmethods__", ()))
    assert all(name in KINDS[kind].__annotations__ for name in re.findall(r"`(\w+)`", attributes))
    assert check == f"`check_{kind}`"
    headings = {
        re.sub("[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in re.findall("^## (.*)", GUIDE, re.M)
    }
    links = re.findall(r"\(#([^)]+)\)", example)
    assert links
    assert set(links) <= headings
