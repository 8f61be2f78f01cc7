from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genprior.bench.bench import Bench
from genprior.errors import RunError, ScoreError
from genprior.registry import Broken, Origin, Registry, installed
from genprior.tables.gather import table_below


def copied(trained: Path, to: Path, **scores: float) -> Path:
    """A copy of a finished table whose every run has these scores."""
    shutil.copytree(trained, to)
    for path in to.rglob("scores.json"):
        path.write_text(json.dumps(scores))
    return to


def with_score(folder: Path, **settings: object) -> None:
    """Say that the runs below were scored by a classifier score with these settings."""
    inside = ", ".join(f"{key} = {value}" for key, value in {"name": '"classifier_score"', **settings}.items())
    for path in folder.rglob("recipe.toml"):
        text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("scores"))
        path.write_text(f"scores = [{{ {inside} }}]\n{text}\n")


# ---------------------------------------------------------------------------------------------------------------------
# check, show, parts
# ---------------------------------------------------------------------------------------------------------------------


def test_check_counts_the_parameters_of_each_row(recipe, call):
    result = call("check", recipe)
    assert result.exit_code == 0, result.output
    # By hand: the encoder has 8*8*16 + 16 and 16*4 + 4 parameters, the code critic 4*16 + 16 and 16 + 1.
    row = next(line for line in result.stdout.splitlines() if "│ AAE " in line)
    assert " 1,108 " in row and " 97 " in row
    assert "│ [A] " in result.stdout and result.stdout.endswith("ok: 2 rows, one step of each was taken\n")
    assert {path.name for path in recipe.parent.iterdir()} == {"tiny.toml"}


def test_show_of_a_recipe_is_toml_with_the_changes_applied(recipe, call):
    result = call("show", recipe, "--row", "[A]", "--with", "wide", "--set", "run.batch=16")
    plan = tomllib.loads(result.stdout)
    assert (plan["label"], plan["model"]["code_size"], plan["run"]["batch"]) == ("[A]", 6, 16)
    assert plan["model"]["prior"]["name"] == "code_generator"
    assert call("show", recipe).stdout.count("\n# row ") + 1 == 2


def test_show_of_a_run_tells_its_facts(trained, call):
    shown = call("show", trained / "[A]" / "seed-0").stdout
    for text in ("[A], seed 0", "finished", "4 of 4", "step-00000004.safetensors", "encoder 1,108", "torch "):
        assert text in shown


@pytest.mark.parametrize(("threads", "text"), [(1, "a GPU, 1 thread, fp32"), (2, "a GPU, 2 threads, fp32")])
def test_show_of_a_run_tells_its_hardware(trained, call, tmp_path, threads, text):
    run = shutil.copytree(trained / "[A]" / "seed-0", tmp_path / "seed-0")
    facts = json.loads((run / "run.json").read_text())
    facts["hardware"] = {"device": "a GPU", "threads": threads, "precision": "fp32"}
    (run / "run.json").write_text(json.dumps(facts))
    assert text in call("show", run).stdout


def test_show_of_a_table_keeps_the_order_of_the_recipe(trained, call):
    shown = call("show", trained).stdout
    assert 0 < shown.index("│ AAE ") < shown.index("│ [A] ")


def test_parts_lists_every_part_with_its_origin(call):
    shown = call("parts").stdout
    for part in installed().all():
        assert f" {part.name} " in shown
    assert "std (genprior " in shown
    only = call("parts", "prior").stdout
    assert " gaussian " in only and " digits " not in only


def test_parts_shows_the_settings_of_one(call):
    shown = call("parts", "model", "aae").stdout
    rows = {
        cells[1].strip(): [c.strip() for c in cells[2:5]]
        for cells in (r.split("│") for r in shown.splitlines())
        if len(cells) > 4
    }
    assert rows["code_size"][:2] == ["integer > 0", "64"]
    assert rows["prior"][:2] == ["a prior", "required"]
    assert rows["improves.prior"][:2] == ["boolean", "false"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["priro"], "there is no kind of part 'priro'; did you mean 'prior'? Possible: conditioner, critic, "),
        (["prior", "gausian"], "there is no prior named 'gausian'; did you mean 'gaussian'? Possible: "),
    ],
)
def test_parts_of_a_wrong_name(call, arguments, message):
    result = call("parts", *arguments)
    assert result.exit_code == 2 and result.stderr.startswith(f"error: {message}")


def test_broken_plugins_are_listed_with_their_reason(call, monkeypatch):
    registry = Registry()
    registry.broken.append(Broken(Origin("ring", "genprior-ring 0.1.0"), "ImportError: no [numba]", "Traceback (most"))
    monkeypatch.setattr("genprior.registry.installed", lambda: registry)
    shown = call("parts").stdout
    assert "not loaded: plugin 'ring' (genprior-ring 0.1.0): ImportError: no [numba]\n" in shown
    assert "Traceback (most" not in shown
    assert "Traceback (most" in call("parts", "--verbose").stdout


def test_parts_that_several_plugins_offer_are_listed(call, monkeypatch):
    registry = Registry()
    registry.clashes["prior", "ring"] = (Origin("one", "genprior-one 1.0"), Origin("two", "genprior-two 2.0"))
    monkeypatch.setattr("genprior.registry.installed", lambda: registry)
    told = (
        "not usable: prior 'ring' is registered by several plugins, so none of them is used: by plugin 'one' "
        "(genprior-one 1.0) and by plugin 'two' (genprior-two 2.0). Uninstall all but one, or rename the part.\n"
    )
    assert told in call("parts").stdout and told in call("parts", "prior").stdout
    assert told not in call("parts", "model").stdout


# ---------------------------------------------------------------------------------------------------------------------
# sample
# ---------------------------------------------------------------------------------------------------------------------


def test_sample_writes_a_grid_and_refuses_to_overwrite_it(trained, call, tmp_path):
    run = shutil.copytree(trained / "AAE" / "seed-0", tmp_path / "run")
    result = call("sample", run, "--n", 12)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"12 images of AAE, seed 0: {run / 'samples.png'}\n"
    with Image.open(run / "samples.png") as image:
        assert image.size == (10 * (8 + 2) + 2, 2 * (8 + 2) + 2)
    again = call("sample", run)
    assert (again.exit_code, again.stderr) == (
        2,
        f"error: {run / 'samples.png'} exists already; give another file, or --force to overwrite it\n",
    )
    assert call("sample", run, "--n", 100, "--force").exit_code == 0
    with Image.open(run / "samples.png") as image:
        assert image.size == (102, 102)


def test_samples_are_those_of_the_library(trained, call, tmp_path):
    from genprior import load_run

    assert call("sample", trained, "--row", "[A]", "--n", 5, "--seed", 7, "--to", tmp_path / "x.npz").exit_code == 0
    expected = load_run(trained / "[A]" / "seed-0").sample(5, seed=7)
    with np.load(tmp_path / "x.npz") as arrays:
        assert (arrays["images"] == expected.permute(0, 2, 3, 1).numpy()).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["{table}"],
            "{table} holds 2 runs; give one of them, or --row and its label:\n  {table}/AAE/seed-0\n"
            "  '{table}/[A]/seed-0'\n",
        ),
        (["{table}", "--row", "AAF"], "there is no row 'AAF' in {table}; did you mean 'AAE'? Possible: AAE, [A]\n"),
        (
            ["{table}/none"],
            "there is no folder {table}/none; give a run's folder, such as runs/<recipe>/<row>/seed-0. The folders and "
            "recipes there: {table}/AAE, {table}/[A]\n",
        ),
        (
            ["{table}/AAE", "--to", "x.gif"],
            "x.gif ends in '.gif', which is no known format. Possible: .png, .npz; "
            "or name an exporter with --exporter (`genprior parts exporter` lists them)\n",
        ),
        (
            ["{table}/AAE", "--to", "x.npz", "--grid", "labels"],
            "--grid labels needs a picture, but x.npz is an array; give a --to that ends in .png\n",
        ),
        (["{table}/AAE", "--label", "12"], "there is no class '12' in this run's data"),
        (["{table}/AAE", "--label", "3"], "conditioner 'none' takes no label"),
    ],
)
def test_what_cannot_be_sampled(trained, call, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    before = sorted(trained.rglob("*"))
    result = call("sample", *(each.format(table=trained) for each in arguments))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {message.format(table=trained)}")
    assert sorted(trained.rglob("*")) == before and not list(tmp_path.iterdir())


def test_a_grid_of_labels_has_a_column_for_each_class(recipe, call):
    out = recipe.parent / "out"
    trained = call("train", recipe, "--with", "labels", "--rows", "AAE", "--out", out, "--jobs", 1)
    assert trained.exit_code == 0, trained.output
    picture = recipe.parent / "labels.png"
    result = call("sample", out, "--grid", "labels", "--n", 30, "--to", picture)
    assert result.exit_code == 0, result.output
    with Image.open(picture) as image:
        assert image.size == (10 * 10 + 2, 14 + 3 * 10 + 2)  # below the names of the classes
    one = call("sample", out, "--label", "3", "--n", 4, "--to", recipe.parent / "three.npz")
    assert one.exit_code == 0, one.output
    with np.load(recipe.parent / "three.npz") as arrays:
        assert arrays["labels"].tolist() == [3] * 4


# ---------------------------------------------------------------------------------------------------------------------
# bench
# ---------------------------------------------------------------------------------------------------------------------


def test_bench_writes_the_table_of_all_runs(trained, call, tmp_path):
    first = copied(trained, tmp_path / "one", classifier_score=2.5, real_classifier_score=9.0)
    with_score(first)
    result = call("bench", first, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "2.50" in result.stdout and "real, held out" in result.stdout and "Note:" not in result.stdout
    table = json.loads((tmp_path / "out" / "table.json").read_text())
    assert [row["label"] for row in table["rows"]] == ["AAE", "[A]"]
    assert table["rows"][0]["scores"]["classifier_score"]["values"] == [2.5]
    assert (table["real"], table["missing"], table["notes"]) == ({"classifier_score": 9.0}, [], [])
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"table.json", "table.md", "table.html", "table.csv", "table.tex"}


def test_seeds_of_one_row_make_one_line_and_tables_stay_apart(trained, tmp_path):
    one, two = copied(trained, tmp_path / "one", x=1.0), copied(trained, tmp_path / "two", x=2.0)
    shutil.copytree(one / "AAE" / "seed-0", one / "AAE" / "seed-10")
    facts = one / "AAE" / "seed-10" / "run.json"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"seed": 10}))
    rows = {row.label: row.seeds for row in table_below([tmp_path]).rows}
    assert rows == {f"{one}: AAE": (0, 10), f"{one}: [A]": (0,), f"{two}: AAE": (0,), f"{two}: [A]": (0,)}
    # A folder that is named twice, and one inside another, count once.
    assert len(table_below([one, one / "AAE", one]).rows) == 2


def test_scores_measured_in_two_ways_do_not_share_a_column(trained, call, tmp_path):
    one, two = (
        copied(trained, tmp_path / name, classifier_score=value) for name, value in [("one", 2.0), ("two", 3.0)]
    )
    with_score(one, samples=100)
    with_score(two, samples=200)
    found = table_below([one, two])
    keys = [column.key for column in found.columns]
    assert keys == ["classifier_score", "classifier_score@2"]
    cells = [[row.scores[key].mean if key in row.scores else None for key in keys] for row in found.rows]
    assert cells == [[2.0, None], [2.0, None], [None, 3.0], [None, 3.0]]
    assert len(found.notes) == 1 and "samples = 100" in found.notes[0] and "samples = 200" in found.notes[0]
    assert found.notes[0].startswith("'classifier_score' was measured with 2 protocols that cannot be compared: (1) ")
    assert "Note: 'classifier_score' was measured" in call("bench", one, two).stdout


def test_seeds_trained_by_two_recipes_are_two_rows(trained, tmp_path):
    one = copied(trained, tmp_path / "one")
    other = shutil.copytree(one / "AAE" / "seed-0", one / "AAE" / "seed-1")
    text = (other / "recipe.toml").read_text()
    assert text.count("code_size = 4") == 1
    (other / "recipe.toml").write_text(text.replace("code_size = 4", "code_size = 5"))
    found = table_below([one])
    assert [row.label for row in found.rows] == ["AAE", "AAE (2)", "[A]"]
    assert found.notes == (
        "The seeds of 'AAE' were trained with different recipes (model.code_size: was 4, is 5), so they are two rows.",
    )


def test_unfinished_and_damaged_runs_are_listed_as_missing(trained, call, tmp_path):
    one = copied(trained, tmp_path / "one")
    facts = one / "AAE" / "seed-0" / "run.json"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"finished": False}))
    found = table_below([one])
    assert found.missing == (str(one / "AAE" / "seed-0"),) and found.notes == ()
    facts.write_text("{")
    damaged = table_below([one])
    assert damaged.missing == found.missing and len(damaged.notes) == 1
    assert f"Not finished: {one / 'AAE' / 'seed-0'}." in found.footnote()
    shutil.rmtree(one / "[A]")
    for command in ("bench", "show"):
        result = call(command, one)
        assert result.exit_code == 2
        assert result.stderr.startswith(
            f"error: there is no run in {one} that can be read:\n  {one / 'AAE' / 'seed-0'} cannot be read: {facts} is "
        )
    with pytest.raises(RunError, match="there is no folder"):
        table_below([tmp_path / "none"])


def test_a_score_alone_ranks_the_rows(trained, call, tmp_path):
    one = copied(trained, tmp_path / "one", classifier_score=2.0, other=1.0)
    (one / "[A]" / "seed-0" / "scores.json").write_text(json.dumps({"classifier_score": 5.0}))
    with_score(one)
    table = Bench([one], scores=["classifier_score"]).table().table
    assert [row.label for row in table.rows] == ["[A]", "AAE"]
    with pytest.raises(ScoreError, match=r"no run here has the score 'classifier'; did you mean 'classifier_score'\?"):
        Bench([one], scores=["classifier"]).table()
    assert call("bench", one, "--score", "fidd").exit_code == 2


def test_a_finished_run_of_a_part_that_is_not_here_is_not_called_unfinished(trained, call, tmp_path):
    one = copied(trained, tmp_path / "one")
    recipe = one / "AAE" / "seed-0" / "recipe.toml"
    text = recipe.read_text()
    assert text.count('name = "gaussian"') == 1
    recipe.write_text(text.replace('name = "gaussian"', 'name = "of_a_notebook"'))
    for command in ("show", "bench"):
        result = call(command, one)
        assert result.exit_code == 0, result.output
        shown = " ".join(result.stdout.split())
        assert "Not finished" not in shown and f"Cannot be read, see the notes: {one / 'AAE' / 'seed-0'}." in shown
        assert "there is no prior named 'of_a_notebook'" in shown and "genprior.register it" in shown
    unfinished = one / "[A]" / "seed-0" / "run.json"
    unfinished.write_text(json.dumps(json.loads(unfinished.read_text()) | {"finished": False}))
    for command in ("show", "bench"):
        result = call(command, one)
        assert result.exit_code == 2
        assert f"Unfinished: {one / '[A]' / 'seed-0'} (trained 4 of 4 steps)\n" in result.stderr
        assert f"  {one / 'AAE' / 'seed-0'} cannot be read: " in result.stderr
        assert "there is no prior named 'of_a_notebook'" in result.stderr
