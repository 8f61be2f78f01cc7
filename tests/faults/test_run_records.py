"""Damaged files of a run folder: the message names file and field, and training mends what it can measure again."""

from __future__ import annotations

import json
import shutil

import pytest

import genprior
from genprior.errors import GenpriorWarning, RunError
from genprior.runs.find import look_at
from genprior.runs.folder import RunFolder
from genprior.runs.trainer import Trainer

pytestmark = pytest.mark.usefixtures("no_curves")

PARZEN = 'scores=[{name="parzen", samples=60, validation=50}]'


@pytest.fixture
def scored(tiny_plan, tmp_path):
    """A plan with a score, and the folder of its finished run."""
    plan, folder = tiny_plan("AAE", PARZEN, "data.validation=60", "run.log_every=1"), tmp_path / "run"
    Trainer(plan, 0, folder).run()
    return plan, folder


def told(call):
    with pytest.raises(RunError) as caught:
        call()
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"seed": "0"}, "seed: Input should be a valid integer"),
        ({"seed": None}, "seed: Input should be a valid integer"),
        ({"finished": "yes"}, "finished: Input should be a valid boolean"),
        ({"step": 2.5}, "step: Input should be a valid integer"),
        ({"seconds": float("nan")}, "seconds: Input should be a finite number"),
        ({"parameters": []}, "parameters: Input should be a table of keys and values"),
        ({"parameters": {"encoder": "1"}}, "parameters.encoder: Input should be a valid integer"),
    ],
)
def test_a_field_of_run_json_is_named(scored, change, reason):
    plan, folder = scored
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    said = f"{path} is damaged ({reason}); the training command of the run writes it anew"
    assert told(lambda: genprior.load_run(folder)) == said
    notes = []
    assert look_at(folder, notes).state == "cannot be read" and notes == [f"{folder} cannot be read: {said}"]
    assert not RunFolder(folder).finished(plan)


@pytest.mark.parametrize("missing", ["label", "seed", "finished", "step", "seconds"])
def test_a_missing_field_of_run_json_is_named(scored, missing):
    _, folder = scored
    facts = json.loads((folder / "run.json").read_text())
    del facts[missing]
    (folder / "run.json").write_text(json.dumps(facts))
    assert f"run.json is damaged ({missing}: Field required); " in told(lambda: genprior.load_run(folder))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty, as after a power cut"),
        (b"\0\0\0\0", "Expecting value: line 1 column 1 (char 0)"),
        (b"[]", "it: Input should be an instance of dict"),
        (b"null", "it: Input should be an instance of dict"),
        (b"\xff", "it is not UTF-8 text: "),
    ],
)
def test_run_json_without_content_is_damaged_and_written_anew(scored, call, content, reason):
    plan, folder = scored
    before = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_bytes(content)
    shown = call("show", folder)
    assert shown.exit_code == 2
    head, _, tail = shown.stderr.partition(" is damaged (")
    assert head == f"error: {folder / 'run.json'}"
    # The words of pydantic for a record that is no table are its own.
    assert tail.startswith(reason) or reason.startswith("it: ")
    assert tail.endswith("); the training command of the run writes it anew\n")
    scores = Trainer(plan, 0, folder).run()
    after = json.loads((folder / "run.json").read_text())
    assert {key: after[key] for key in ("seed", "step", "finished")} == {
        key: before[key] for key in ("seed", "step", "finished")
    }
    assert scores == genprior.load_run(folder).scores


def test_scores_of_another_name_are_measured_anew(scored):
    plan, folder = scored
    expected = RunFolder(folder).scores()
    (folder / "scores.json").write_text('{"other": 1.0}')
    assert not RunFolder(folder).finished(plan)
    assert Trainer(plan, 0, folder).run() == expected
    assert RunFolder(folder).scores() == expected and RunFolder(folder).finished(plan)


@pytest.mark.parametrize("content", [None, "", "{}", "[1]", '{"parzen": null}', '{"parzen": NaN}', '{"parzen": "1"}'])
def test_scores_that_are_gone_or_damaged_are_measured_anew_without_training(scored, monkeypatch, content):
    plan, folder = scored
    expected = RunFolder(folder).scores()
    weights = {path.name: path.read_bytes() for path in (folder / "checkpoints").iterdir()}
    if content is None:
        (folder / "scores.json").unlink()
    else:
        (folder / "scores.json").write_text(content)
    if content in (None, "{}"):
        assert look_at(folder, []).state == "trained and not scored"
    else:
        said = told(lambda: genprior.load_run(folder).scores)
        assert said.startswith(f"{folder / 'scores.json'} is damaged (")
        assert said.endswith("; the training command of the run measures the scores anew")
        assert ("parzen: " in said) == ("parzen" in content)
    monkeypatch.setattr(Trainer, "one_step", lambda self: pytest.fail("it is trained already"))
    assert Trainer(plan, 0, folder).run() == expected == RunFolder(folder).scores()
    assert {path.name: path.read_bytes() for path in (folder / "checkpoints").iterdir()} == weights


@pytest.mark.parametrize("line", ["{", "", "\0\0", "[]", '{"seconds": 1}', '{"step": null}', '{"step": 1, "x": "y"}'])
def test_a_damaged_line_of_metrics_is_left_out_with_a_warning(scored, line):
    _, folder = scored
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], line, *lines[2:]]) + "\n")
    with pytest.warns(GenpriorWarning) as caught:
        steps = [record["step"] for record in genprior.load_run(folder).metrics]
    assert steps == [1, 3, 4, 5, 6]
    assert str(caught[0].message).startswith(f"line 2 of {path} is damaged and is left out: ")


def test_the_command_line_prints_such_a_warning_in_one_line(scored, call):
    _, folder = scored
    path = folder / "metrics.jsonl"
    path.write_text("{\n" + path.read_text())
    shown = call("show", folder)
    assert shown.exit_code == 0
    assert shown.stderr.startswith(f"warning: line 1 of {path} is damaged and is left out: ")


def test_the_incomplete_last_line_of_a_running_training_is_no_damage(scored):
    _, folder = scored
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "sec')
    assert [record["step"] for record in genprior.load_run(folder).metrics] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (None, "", "label: Field required; run: Field required; data: "),
        ('label = "AAE"', "label = 3", "label: Input should be a valid string"),
        ("[run]", "[[run]]", "run: Input should be a table of keys and values"),
    ],
)
def test_a_field_of_recipe_toml_is_named(scored, old, new, reason):
    plan, folder = scored
    path = folder / "recipe.toml"
    text = path.read_text()
    assert old is None or old in text
    path.write_text(new if old is None else text.replace(old, new))
    for read in (lambda: genprior.load_run(folder), lambda: Trainer(plan, 0, folder).run()):
        said = told(read)
        assert said.startswith(f"{path} is damaged ({reason}")
        assert said.endswith("); remove the folder, or give another --out")


def test_files_of_a_run_without_its_recipe_are_not_written_over(scored):
    plan, folder = scored
    (folder / "recipe.toml").unlink()
    shutil.rmtree(folder / "checkpoints")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert told(lambda: Trainer(plan, 0, folder).run()) == (
        f"{folder} holds run.json, metrics.jsonl, scores.json, samples but no recipe.toml, so it is not a run that "
        "can be resumed. Nothing was changed. Give another --out, or move these files."
    )
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_damaged_table_sorts_no_rows_and_says_so(scored, tmp_path):
    from genprior.runs.find import run_folders

    _, folder = scored
    home = tmp_path / "table"
    shutil.copytree(folder, home / "AAE" / "seed-0")
    (home / "table.json").write_text('{"title": "t", "columns": [], "rows": [{"label": 3}]}')
    with pytest.warns(GenpriorWarning, match=r"table.json is damaged \(rows.0.label: Input should be a valid string\)"):
        assert run_folders(home) == [home / "AAE" / "seed-0"]
