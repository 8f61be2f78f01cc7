"""The format of the files of a run: older ones are read, newer ones are refused by name and left as they are."""

from __future__ import annotations

import json
import tomllib

import pytest

import genprior
from genprior.errors import FORMAT, GenpriorWarning, NewerFormat
from genprior.runs.find import run_folders
from genprior.runs.folder import RunFolder
from genprior.runs.trainer import Trainer

pytestmark = pytest.mark.usefixtures("no_curves")

STEPS = (
    "data.validation=100",
    "run.checkpoint_every=2",
    "run.hooks.pictures.enabled=false",
    'scores=[{name="parzen",samples=50}]',
)
JSON = ("run.json", "scores.json", "checkpoints/step-00000006.json")


@pytest.fixture
def finished(tiny_plan, tmp_path):
    """A plan and the folder of its finished run, with scores."""
    plan, folder = tiny_plan("AAE", *STEPS), tmp_path / "AAE" / "seed-0"
    Trainer(plan, 0, folder).run()
    return plan, folder


def with_format(folder, name, number):
    path = folder / name
    if name.endswith(".toml"):
        lines = [line for line in path.read_text().splitlines() if not line.startswith("format = ")]
        path.write_text("\n".join([*([] if number is None else [f"format = {number}"]), *lines]) + "\n")
        return path
    content = {key: value for key, value in json.loads(path.read_text()).items() if key != "format"}
    path.write_text(json.dumps(content if number is None else {"format": number, **content}))
    return path


def test_each_file_names_its_format(finished, tiny, tmp_path):
    _, folder = finished
    assert [json.loads((folder / name).read_text())["format"] for name in JSON] == [FORMAT] * 3
    assert tomllib.loads((folder / "recipe.toml").read_text())["format"] == FORMAT
    genprior.train(genprior.load_recipe(tiny, settings=STEPS), rows=["AAE"], out=tmp_path)
    assert json.loads((tmp_path / "table.json").read_text())["format"] == FORMAT
    scores = RunFolder(folder).scores()
    assert "parzen" in scores and "format" not in scores


def test_files_without_a_format_are_read(finished):
    plan, folder = finished
    before = genprior.load_run(folder)
    scores, sample = before.scores, before.sample(2)
    for name in (*JSON, "recipe.toml"):
        with_format(folder, name, None)
    after = genprior.load_run(folder)
    assert (after.scores, after.finished, after.plan.differences(plan.as_table())) == (scores, True, [])
    assert (after.sample(2) == sample).all()
    assert Trainer(plan, 0, folder).run() == scores


@pytest.mark.parametrize("name", [*JSON, "recipe.toml"])
def test_a_newer_format_is_refused_by_name_and_left_as_it_is(name, finished):
    plan, folder = finished
    path = with_format(folder, name, FORMAT + 1)
    before = path.read_bytes()
    said = (
        rf"{path} has format {FORMAT + 1}, which a newer genprior wrote; this one reads "
        rf"formats up to {FORMAT}. Nothing was changed. Update genprior \(pip install --upgrade genprior\)"
    )
    with pytest.raises(NewerFormat, match=said):
        run = genprior.load_run(folder)
        assert run.finished
        run.sample(1)
    if name.startswith("checkpoints"):
        facts = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(facts | {"finished": False}))
    for last_good in (False, True):
        with pytest.raises(NewerFormat, match=said):
            Trainer(plan, 0, folder, last_good=last_good).run()
    assert path.read_bytes() == before


def test_a_newer_table_is_not_overwritten(finished, tiny, tmp_path):
    recipe = genprior.load_recipe(tiny, settings=STEPS, rows=["AAE"])
    genprior.train(recipe, out=tmp_path)
    path = with_format(tmp_path, "table.json", FORMAT + 1)
    path.write_text(json.dumps(json.loads(path.read_text()), indent=2))
    before = path.read_bytes()
    with pytest.raises(NewerFormat, match=f"table.json has format {FORMAT + 1}"):
        genprior.train(recipe, out=tmp_path)
    with pytest.warns(GenpriorWarning, match=f"table.json has format {FORMAT + 1}"):
        run_folders(tmp_path)
    assert path.read_bytes() == before
