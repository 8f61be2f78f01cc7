"""Early stopping: what is kept, scored, sampled and loaded, what commands say of it, and what is refused."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import genprior
from genprior import GenpriorWarning
from genprior.errors import CheckpointError, RecipeError, RunError
from genprior.launch.preflight import preflight
from genprior.runs.folder import RunFolder
from genprior.runs.run import load_run
from genprior.runs.trainer import Trainer

from ..small_stopping import ELBO, SEEN, facts, outcome, records, scripted, small_trainer, steps_kept

STOPS = scripted(1, 2, 3, 2, 2, 9)


@pytest.fixture
def trained(path, tmp_path):
    """Train the small recipe into a folder with the public function; gives the run folder."""

    def train(name, *settings, **given):
        recipe = genprior.load_recipe(path, settings=settings)
        genprior.train(recipe, out=tmp_path / name, device="cpu", **given)
        return tmp_path / name / "base" / "seed-0"

    return train


def weights(folder: Path, step: int) -> dict[str, torch.Tensor]:
    saved = load_file(folder / "checkpoints" / f"step-{step:08d}.safetensors")
    return {name.partition("/")[2]: each for name, each in saved.items() if name.startswith("model/")}


# ---------------------------------------------------------------------------------------------------------------------
# The best checkpoint
# ---------------------------------------------------------------------------------------------------------------------


def test_the_best_checkpoint_is_scored_sampled_loaded_and_shown_to_hooks(plan, tmp_path):
    folder, other = tmp_path / "run", tmp_path / "six"
    watched = "run.hooks.watches.enabled=true"
    row = plan(*STOPS, watched, 'scores=[{name="elbo"},{name="nll",importance_samples=4}]')
    small_trainer(row, 0, folder).run()
    assert outcome(folder) == (10, 6, 3.0, 10, True)
    # The same training until step 6, without early stopping, is scored and samples the same.
    short = 'scores=[{name="elbo"},{name="nll",importance_samples=4}]'
    small_trainer(plan("run.steps=6", short), 0, other).run()
    assert RunFolder(folder).scores() == RunFolder(other).scores()
    ours, theirs = load_run(folder), load_run(other)
    assert torch.equal(ours.sample(9, seed=3), theirs.sample(9, seed=3))
    assert ours.scores == theirs.scores
    (*_, (event, step, seen)) = SEEN
    assert (event, step) == ("finished", 10)
    assert all(torch.equal(seen[name], each) for name, each in weights(folder, 6).items())
    assert ("sampled", 10, True) in SEEN
    heard = {step: lines for event, step, lines in SEEN if event == "step" and lines}
    assert set(heard) == {2, 3, 4, 6, 8, 9, 10}
    assert heard[4]["validation/gain"] == 2.0
    assert heard[6]["validation/gain"] == 3.0 and "elbo/encoder/loss" in heard[6]  # both lines of that step


def test_averaged_weights_are_measured_and_restored(plan, tmp_path):
    """The number of metrics.jsonl is the score of the run's averaged model on the validation images."""
    small_trainer(plan(*ELBO, "run.stop.patience=50", "run.ema=0.9", "run.stop.images=20"), 0, tmp_path / "run").run()
    run = load_run(tmp_path / "run")
    stopping = genprior.load_run(tmp_path / "run").facts
    measured = {line["step"]: line["validation/elbo"] for line in records(tmp_path / "run") if len(line) == 2}
    assert stopping["best_value"] == max(measured.values()) == measured[stopping["best_step"]]
    again = small_trainer(run.plan, 0, tmp_path / "other")
    again.prepare()
    again._state.restore(run.checkpoint, torch.device("cpu"))
    again.step = stopping["best_step"]
    assert set(again._stopping.measure(again).values()) == {stopping["best_value"]}
    assert torch.equal(run.sample(5), again.sample(5, seed=0))


def test_the_best_checkpoint_stays_beside_the_newest_ones(plan, tmp_path):
    small_trainer(plan(*scripted(1, 9, 2, 2, 2, 2, 2, 2, patience=9), "run.keep.last=1"), 0, tmp_path / "one").run()
    assert steps_kept(tmp_path / "one") == [4, 16]
    Trainer(
        plan(*scripted(1, 9, 2, 2, 10, 2, 2, 2, patience=9), "run.keep={last=1,every=15}"), 0, tmp_path / "two"
    ).run()
    assert steps_kept(tmp_path / "two") == [10, 15, 16]


def test_the_best_of_a_run_in_training_is_the_best_so_far(plan, tmp_path):
    small_trainer(plan(*scripted(1, 9, 2, 2, 2, 10, 2, 2, patience=9)), 0, tmp_path / "run").run(until=9)
    assert not load_run(tmp_path / "run").finished
    assert load_run(tmp_path / "run").checkpoint.name == "step-00000004.safetensors"
    assert RunFolder(tmp_path / "run").checkpoint_step == 9


# ---------------------------------------------------------------------------------------------------------------------
# Damaged checkpoints
# ---------------------------------------------------------------------------------------------------------------------


def damage(folder: Path, step: int) -> None:
    with (folder / "checkpoints" / f"step-{step:08d}.safetensors").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\xff\xff\xff\xff")


def test_last_good_goes_back_to_a_checkpoint_whose_best_is_still_there(plan, tmp_path):
    """The newest one, at step 8, was the best; the one before it, at step 5, was trained when that of step 2 was."""
    row, folder = plan(*scripted(9, 1, 2, 10, 2, 2, 2, patience=3)), tmp_path / "run"
    small_trainer(row, 0, tmp_path / "once").run()
    small_trainer(row, 0, folder).run(until=8)
    assert steps_kept(folder) == [2, 5, 8]
    damage(folder, 8)
    with pytest.raises(CheckpointError, match="step-00000005.safetensors, is undamaged: genprior train .* last-good"):
        small_trainer(row, 0, folder).run()
    with pytest.warns(GenpriorWarning, match="damaged"):
        small_trainer(row, 0, folder, last_good=True).run()
    assert outcome(folder) == outcome(tmp_path / "once")
    assert records(folder) == records(tmp_path / "once")
    assert RunFolder(folder).scores() == RunFolder(tmp_path / "once").scores()


def test_a_damaged_or_missing_best_checkpoint_is_said(plan, tmp_path):
    row, folder = plan(*STOPS, "run.keep={last=1,every=5}"), tmp_path / "run"
    small_trainer(row, 0, folder).run(until=9)
    assert steps_kept(folder) == [5, 6, 9]
    damage(folder, 6)
    with pytest.raises(CheckpointError, match="step-00000006.safetensors was truncated or altered"):
        _ = load_run(folder).model
    (folder / "checkpoints" / "step-00000006.json").unlink()
    text = "step-00000009.safetensors names step-00000006.safetensors as the best so far, which is not there"
    with pytest.raises(CheckpointError, match=text):
        small_trainer(row, 0, folder).run()
    with pytest.raises(CheckpointError, match="no checkpoint in .* is undamaged"):  # that of step 4 was the best then
        small_trainer(row, 0, folder, last_good=True).run()


def test_the_state_in_a_checkpoint_is_protected_by_its_checksum(plan, tmp_path):
    row, folder = plan(*STOPS), tmp_path / "run"
    small_trainer(row, 0, folder).run(until=9)
    place = folder / "checkpoints" / "step-00000009.json"
    kept = json.loads(place.read_text())
    assert kept["early_stopping"] == {"waited": 1, "improved": 3.0}
    kept["early_stopping"]["waited"] = 0
    place.write_text(json.dumps(kept))
    with pytest.raises(CheckpointError, match="its .json is not the one that was written with it"):
        small_trainer(row, 0, folder).run()


# ---------------------------------------------------------------------------------------------------------------------
# A run that ended before its steps
# ---------------------------------------------------------------------------------------------------------------------


def test_it_is_finished_everywhere(path, trained, call, tmp_path, monkeypatch):
    folder = trained("out", *STOPS)
    run = load_run(folder)
    assert run.finished and RunFolder(folder).finished(run.plan)
    assert run.stopped_early == "step 10 of 16, best at step 6"
    table = (tmp_path / "out" / "table.md").read_text()
    assert "Stopped early, and scored at their best checkpoint (base, seed 0: step 10 of 16, best at step 6)." in table
    assert "Not finished" not in table
    options = [option for each in STOPS for option in ("--set", each)]
    monkeypatch.setattr(Trainer, "prepare", lambda self: pytest.fail("trained again"))
    monkeypatch.setattr("genprior.launch.train.preflight", lambda recipe, device, timed: None)
    again = call("train", path, "--out", tmp_path / "out", *options)
    assert again.exit_code == 0 and "was finished before" in again.output
    shown = " ".join(call("show", folder).output.replace("│", " ").split())
    assert "stopped early step 10 of 16, best at step 6" in shown
    assert "best gain 3 on validation images, at step 6; the scores are of this checkpoint" in shown
    benched = call("bench", folder, "--score", '{name="nll",importance_samples=3}')
    assert benched.exit_code == 0
    assert "base, seed 0: step 10 of 16, best at step 6" in " ".join(benched.output.split())
    shutil.rmtree(folder / "cache", ignore_errors=True)


def test_the_progress_says_that_it_ended_early(path, call, tmp_path):
    options = [option for each in STOPS for option in ("--set", each)]
    first = call("train", path, "--out", tmp_path / "out", "--jobs", 1, *options)
    assert first.exit_code == 0, first.output
    assert ", stopped early after 10 of 16 steps" in first.output


def test_more_steps_are_refused_where_patience_ran_out(trained):
    folder = trained("run", *STOPS)
    before = {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()}
    text = "early stopping ended it after 10 steps, whatever their number; to train further, give another run.stop"
    with pytest.raises(RunError, match=text):
        trained("run", *STOPS, steps=30)
    assert {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()} == before


@pytest.mark.parametrize("done", [7, 8])
def test_a_run_that_did_not_stop_is_lengthened_as_if_trained_so_from_the_beginning(done, trained):
    """Both the end between two measurements and the end at one, beside sums of a line that is not complete."""
    given = scripted(1, 2, 3, 2.5, 4, 3, 3, 3, patience=2)
    short = trained("long", *given, f"run.steps={done}")
    assert outcome(short)[:2] == (None, 6)
    assert trained("long", *given, steps=16) == short
    whole = trained("whole", *given)
    assert outcome(short) == outcome(whole) == (14, 10, 4.0, 14, True)
    assert records(short) == records(whole)
    assert RunFolder(short).scores() == RunFolder(whole).scores()


def test_other_settings_are_another_run(trained):
    trained("run", *STOPS)
    with pytest.raises(RunError, match=r"run\.stop\.patience: was 2, is 3"):
        trained("run", *scripted(1, 2, 3, 2, 2, 9, patience=3))
    with pytest.raises(RunError, match=r"run\.stop\.every: was 2, is 'absent'"):
        trained("run")


# ---------------------------------------------------------------------------------------------------------------------
# Refusals before training
# ---------------------------------------------------------------------------------------------------------------------


def by(score: str) -> tuple[str, ...]:
    return (f"run.stop.score={{{score}}}", "run.stop.every=2")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            (*ELBO, "data.validation=0"),
            "early stopping needs images that are held back from training: data set 'digits'",
        ),
        ((*ELBO, "data.validation=0"), "set validation = 200 in its settings"),
        ((*ELBO, "run.stop.every=17"), "run.stop.every = 17 is more than the 16 steps of the run"),
        ((*ELBO, "run.stop.images=61"), "run.stop.images = 61 is more than the 60 images of the validation split"),
        (by('name="kid"'), "run.stop.score 'kid': it scores generated images; choose a score of held-out images"),
        (by('name="scripted"'), 'it has several columns: give run.stop.column, one of "gain", "loss", "none"'),
        ((*ELBO, 'run.stop.column="elbow"'), 'run.stop.column = "elbow" is none of its columns, "elbo", "mutual'),
        ((*by('name="scripted"'), 'run.stop.column="none"'), "it returned no 'none': it is odd"),
        ((*by('name="scripted",reads=[]'), 'run.stop.column="gain"'), "it reads no held-out images"),
        ((*by('name="scripted",reads=["all"]'), 'run.stop.column="gain"'), "it reads the split 'all', which may hold"),
        ((*by('name="scripted",reads=["test","validation"]'), 'run.stop.column="gain"'), "it chooses something with"),
        ((*by('name="cluster_error"'), 'run.stop.column="cluster_error"'), "it chooses something with"),
        (by('name="error_rate"'), "run.stop.score 'error_rate': model 'vae' does not classify images"),
        (by('name="lone",least=61'), "run.stop.score 'lone': 60 images are too few"),
        (
            (*ELBO, 'model.reconstruction={name="pixel",metric="squared"}'),
            "it returned no 'elbo': the reconstruction is",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_before_training(given, text, path):
    recipe = genprior.load_recipe(path, settings=(*given, "scores=[]"))
    with pytest.raises(RecipeError) as caught:
        preflight(recipe, "cpu")
    assert text in str(caught.value)
    assert str(caught.value).endswith("[row base]")


def test_a_model_without_likelihood_is_refused(tiny):
    recipe = genprior.load_recipe(tiny, rows=["AAE"], settings=("data.validation=60", *ELBO))
    with pytest.raises(
        RecipeError, match=r"run\.stop\.score 'elbo': it needs p\(x, z\) and q\(z \| x\), and model 'aae'"
    ):
        preflight(recipe, "cpu")


def test_a_score_that_needs_more_images_than_a_check_takes_is_allowed(path):
    preflight(genprior.load_recipe(path, settings=by('name="lone",least=60')), "cpu")


@pytest.mark.parametrize(("images", "count"), [("25", 25), ("0.5", 30), ("0.001", 1)])
def test_a_number_or_a_share_of_the_validation_images_is_measured(images, count, plan, tmp_path):
    row = plan(*by('name="lone",least=1'), f"run.stop.images={images}")
    small_trainer(row, 0, tmp_path / "run").run(until=2)
    assert records(tmp_path / "run") == [{"step": 2, "validation/only": float(count)}]


def test_a_score_that_cannot_be_measured_in_training_is_named(plan, tmp_path):
    row = plan(*by('name="lone",least=61'))
    with pytest.raises(
        genprior.ScoreError, match=r"row 'base', step 2: run\.stop\.score 'lone': 60 images are too few"
    ):
        small_trainer(row, 0, tmp_path / "run").run()


@pytest.mark.parametrize(
    ("setting", "text"),
    [("patience=0", "run.stop.patience"), ("min_delta=-1", "run.stop.min_delta"), ("images=0", "run.stop.images")],
)
def test_wrong_values_name_their_setting(setting, text, path):
    with pytest.raises(RecipeError, match=text):
        genprior.load_recipe(path, settings=(*ELBO, f"run.stop.{setting}"))


def test_curves_show_the_measurements(plan, tmp_path, monkeypatch):
    drawn: list = []
    monkeypatch.setattr("genprior_std.hooks.pictures.draw_curves", lambda metrics, path: drawn.extend(metrics))
    small_trainer(plan(*STOPS, "run.hooks.pictures.enabled=true"), 0, tmp_path / "run").run()
    assert [line["validation/gain"] for line in drawn if "validation/gain" in line] == [1, 2, 3, 2, 2]
    assert (tmp_path / "run" / "samples" / "step-00000010.png").exists()
    assert math.isfinite(facts(tmp_path / "run")["seconds"])
