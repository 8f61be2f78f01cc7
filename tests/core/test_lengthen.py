"""A run that is trained to more steps is the run that was trained to so many from the beginning, or it is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import genprior
from genprior.errors import CheckpointError, Interrupted, RecipeError, RunError
from genprior.runs.folder import RunFolder
from genprior.runs.jobs import jobs_of
from genprior.runs.lengthen import lengthen
from genprior.runs.run import load_run
from genprior.runs.trainer import Trainer

SCORE = 'scores=[{name="parzen",samples=50}]'
LISTENING = 'name="plateau",metric="improve_prior/decoder/loss",patience=1,factor=0.5,threshold=0.9'
PLATEAU = f"optimiser.default.schedule={{{LISTENING}}}"
"""No loss falls to a tenth in these few steps, so that the rate falls after each second record."""
SCHEDULES = {
    "constant": (),
    "warmup": ("optimiser.default.schedule={warmup=7}", "run.ema=0.9"),
    "step": ('optimiser.default.schedule={name="step",every=2,factor=0.5}',),
    "piecewise": ('optimiser.encoder.schedule={name="piecewise",at=[2,7],factors=[0.5,0.1]}', "run.ema=0.8"),
    "averages over a share": ("run.ema_share=0.3",),
    "linear at its end value": ('optimiser.default.schedule={name="linear",final=1.0}',),
}


def newest(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(RunFolder(folder).newest_checkpoint)


def records(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def assert_same_run(one: Path, other: Path) -> None:
    """The same steps, weights, moments, averaged weights, records and scores."""
    first, second = newest(one), newest(other)
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []
    assert records(one) == records(other)
    assert RunFolder(one).scores() == RunFolder(other).scores()


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.fixture
def tiny(tiny):
    """The recipe with images for a score, and without pictures, which take longer than its steps."""
    text = tiny.read_text()
    text = text.replace("[run]\n", "[run]\nhooks.pictures.enabled = false\n").replace(
        "size = 8\n", "size = 8\nvalidation = 100\n"
    )
    tiny.write_text(text)
    return tiny


@pytest.fixture
def trained(tiny, tmp_path):
    """Train rows of the tiny recipe into a folder; gives the folder of the first one under the first seed."""

    def train(name, *settings, row="AAE", **given):
        recipe = genprior.load_recipe(tiny, rows=[row], settings=settings)
        genprior.train(recipe, out=tmp_path / name, device="cpu", **given)
        return tmp_path / name / row / "seed-0"

    return train


# ---------------------------------------------------------------------------------------------------------------------
# The same run
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_finished_run_trained_further_equals_one_of_that_length(name, trained):
    """It ended at step 5, between two records of 2 steps, whose sums are over the end of the shorter run."""
    settings = (SCORE, *SCHEDULES[name])
    run = trained("long", "run.steps=5", *settings, row="A+B+C")
    short = RunFolder(run).scores()
    assert [line["step"] for line in records(run)] == [2, 4, 5]
    assert trained("long", *settings, row="A+B+C", steps=9) == run
    whole = trained("whole", "run.steps=9", *settings, row="A+B+C")
    assert_same_run(run, whole)
    assert [line["step"] for line in records(run)] == [2, 4, 6, 8, 9]
    assert RunFolder(run).scores() != short
    facts = json.loads((run / "run.json").read_text())
    assert (facts["step"], facts["finished"], "scored_step" in facts) == (9, True, False)
    assert RunFolder(run).plan().run.steps == 9


def test_a_schedule_does_not_hear_the_line_at_the_end_of_a_shorter_run(trained):
    """Of 3 steps each: the line of step 7 is not one of the longer run, so it counts for no patience."""
    settings = (PLATEAU, "run.log_every=3")
    run = trained("long", "run.steps=7", *settings, row="A+B+C")
    trained("long", *settings, row="A+B+C", steps=20)
    whole = trained("whole", "run.steps=20", *settings, row="A+B+C")
    assert_same_run(run, whole)
    assert len({line["optimiser/decoder/lr"] for line in records(whole)}) > 1


@pytest.mark.parametrize(("done", "steps"), [(3, 9), (4, 9), (5, 7), (5, 5), (4, 4)])
def test_an_unfinished_run_goes_to_another_length(done, steps, tiny_plan, trained, tmp_path):
    """More steps than planned, fewer, and just those that are done."""
    run = tmp_path / "run" / "A+B+C" / "seed-0"
    Trainer(tiny_plan("A+B+C", "run.steps=8", "run.ema=0.9", SCORE), 0, run, device="cpu").run(until=done)
    trained("run", "run.ema=0.9", SCORE, row="A+B+C", steps=steps)
    assert_same_run(run, trained("whole", f"run.steps={steps}", "run.ema=0.9", SCORE, row="A+B+C"))


def test_a_new_run_has_the_given_number_of_steps(trained):
    assert_same_run(trained("given", steps=4), trained("set", "run.steps=4"))


def test_a_run_of_that_length_is_left_as_it_is(trained, monkeypatch):
    run = trained("run", SCORE, steps=4)
    before = content(run)
    monkeypatch.setattr(Trainer, "prepare", lambda self: pytest.fail("trained again"))
    monkeypatch.setattr("genprior.launch.train.preflight", lambda recipe, device, timed: None)
    trained("run", SCORE, steps=4)
    assert content(run) == before


# ---------------------------------------------------------------------------------------------------------------------
# Until the new scores are there
# ---------------------------------------------------------------------------------------------------------------------


def test_old_scores_and_the_table_stay_until_the_new_ones_are_measured(trained, tmp_path, monkeypatch, call):
    run = trained("runs", SCORE)
    table = {name: (tmp_path / "runs" / name).read_bytes() for name in ("table.json", "table.md", "rows.png")}
    scores = (run / "scores.json").read_bytes()

    def stopped(self):
        if self.step == 8:
            raise Interrupted("stopped")
        return step(self)

    step = Trainer.one_step
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Trainer, "one_step", stopped)
        trained("runs", SCORE, steps=11)
    assert (run / "scores.json").read_bytes() == scores
    assert all((tmp_path / "runs" / name).read_bytes() == kept for name, kept in table.items())
    now = load_run(run)
    assert (now.finished, now.scores, now.facts["scored_step"]) == (False, {}, 6)
    assert "no finished run" in call("bench", tmp_path / "runs").output.replace("\n", " ")
    trained("runs", SCORE, steps=11)
    assert (run / "scores.json").read_bytes() != scores
    assert (tmp_path / "runs" / "table.json").read_bytes() != table["table.json"]
    assert_same_run(run, trained("whole", "run.steps=11", SCORE))


def test_a_failure_while_the_recipe_is_written_leaves_no_run_that_is_called_finished(
    trained, tiny, tmp_path, monkeypatch
):
    run = trained("runs", SCORE)
    recipe = genprior.load_recipe(tiny, rows=["AAE"], settings=[SCORE]).lasting(9)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk"):
        patch.setattr(RunFolder, "write_recipe", lambda self, plan: (_ for _ in ()).throw(OSError("disk")))
        lengthen(jobs_of(recipe, tmp_path / "runs"), tmp_path / "runs")
    assert not load_run(run).finished
    trained("runs", SCORE, steps=9)
    assert_same_run(run, trained("whole", "run.steps=9", SCORE))


def test_a_table_of_rows_of_different_lengths_says_so(tiny, trained, tmp_path):
    genprior.train(genprior.load_recipe(tiny), out=tmp_path / "runs", device="cpu")
    trained("runs", steps=7)
    (note,) = json.loads((tmp_path / "runs" / "table.json").read_text())["notes"]
    assert note == "The rows were trained for different numbers of steps (6: A+B+C; 7: AAE)."


# ---------------------------------------------------------------------------------------------------------------------
# Refused
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            ('optimiser.default.schedule={name="linear"}',),
            "the learning rate of code_critic, decoder, encoder depends on run.steps (schedule 'linear'): "
            "at step 5 it was 0.0001667, and would have been 0.0005833 in a run of 12 steps [row AAE]",
        ),
        (
            ('optimiser.encoder.schedule={name="cosine"}',),
            "the learning rate of encoder depends on run.steps (schedule 'cosine'): at step 5 it was 6.699e-05, and "
            "would have been 0.0006294 in a run of 12 steps [row AAE]",
        ),
    ],
)
def test_a_schedule_that_depends_on_the_length_is_refused(settings, line, trained, tmp_path):
    run = trained("runs", *settings)
    before = content(tmp_path / "runs")
    with pytest.raises(RunError) as caught:
        trained("runs", *settings, steps=12)
    assert str(caught.value) == (
        f"runs in {tmp_path / 'runs'} cannot be trained to 12 steps:\n  {line}\nNothing was changed. Give another "
        "--out to train so many steps from the beginning."
    )
    assert content(tmp_path / "runs") == before
    assert load_run(run).finished


def test_the_schedule_of_a_default_that_no_module_uses_does_not_matter(trained):
    modules = ("encoder", "decoder", "code_critic")
    own = [f'optimiser.{name}.schedule={{name="constant",warmup=2}}' for name in modules]
    settings = ('optimiser.default.schedule={name="linear"}', *own)
    run = trained("runs", *settings)
    trained("runs", *settings, steps=8)
    assert_same_run(run, trained("whole", "run.steps=8", *settings))


def test_a_run_is_not_shortened(trained, tmp_path):
    trained("runs")
    before = content(tmp_path / "runs")
    text = r"cannot be trained to 5 steps:\n  6 steps are done already, and a run cannot be shortened \[row AAE\]\nNoth"
    with pytest.raises(RunError, match=text):
        trained("runs", steps=5)
    assert content(tmp_path / "runs") == before
    with pytest.raises(RecipeError, match="steps = 0 is too small; give a whole number of at least 1"):
        trained("runs", steps=0)


def test_no_row_is_changed_if_one_is_refused(tiny, trained, tmp_path):
    linear = 'optimiser.default.schedule={name="linear"}'
    trained("runs", linear, "run.steps=5")
    trained("runs", linear, row="A+B+C")
    before = content(tmp_path / "runs")
    recipe = genprior.load_recipe(tiny, settings=[linear])
    with pytest.raises(RunError, match=r"to 5 steps:\n  6 steps are done .* \[row A\+B\+C\]\nNothing was changed"):
        genprior.train(recipe, out=tmp_path / "runs", steps=5, device="cpu")
    assert content(tmp_path / "runs") == before


def test_other_settings_are_refused_as_ever_and_the_message_for_steps_alone_names_the_option(
    trained, call, tiny, tmp_path
):
    trained("runs")
    before = content(tmp_path / "runs")
    with pytest.raises(RunError, match=r"run.batch: was 8, is 9 \[row AAE\]\nNothing was changed. Give another --out"):
        trained("runs", "run.batch=9", steps=9)
    result = call("train", tiny, "--rows", "AAE", "--out", tmp_path / "runs", "--set", "run.steps=9")
    hint = "To train the runs of that folder to another number of steps, give --steps."
    assert result.exit_code == 2 and result.output.rstrip().endswith(hint)
    result = call(
        "train", tiny, "--rows", "AAE", "--out", tmp_path / "runs", "--set", "run.steps=9", "--set", "run.batch=9"
    )
    assert result.exit_code == 2 and hint not in result.output
    assert content(tmp_path / "runs") == before


def test_a_finished_run_without_its_checkpoints_is_refused(trained, tmp_path):
    run = trained("runs")
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(RunError, match=r"the run is finished and has no checkpoint to resume from \[row AAE\]"):
        trained("runs", steps=9)
    assert load_run(run).finished


def test_a_damaged_checkpoint_is_found_before_the_run_is_changed(trained):
    run = trained("runs")
    RunFolder(run).newest_checkpoint.write_bytes(b"")
    with pytest.raises(CheckpointError, match="step-00000006"):
        trained("runs", steps=9)
    assert load_run(run).finished
    with pytest.warns(match="was moved to"):
        trained("runs", steps=9, last_good=True)
    assert_same_run(run, trained("whole", "run.steps=9"))


def test_a_run_in_use_is_refused(trained):
    run = trained("runs")
    with RunFolder(run).locked(), pytest.raises(RunError, match="is in use by another process"):
        trained("runs", steps=9)


def test_settings_that_do_not_change_the_weights_may_differ(trained):
    run = trained("runs")
    others = (
        "run.log_every=3", "run.checkpoint_every=1", "run.keep={last=4}", "run.sample_every=2", "run.seeds=[0,0]",
        'run.on_divergence="skip"', "run.hooks={pictures={enabled=true}}", 'title="other"', SCORE,
    )  # fmt: skip
    trained("runs", *others, steps=8)
    first, second = newest(run), newest(trained("whole", "run.steps=8"))
    weights = [key for key in second if not key.startswith("recorder/")]
    assert [key for key in weights if not torch.equal(first[key], second[key])] == []
    assert RunFolder(run).scores()
    assert len(list((run / "checkpoints").glob("*.safetensors"))) == 4


@pytest.mark.parametrize("steps", [None, 9])
def test_a_run_whose_schedule_hears_records_keeps_the_steps_between_them(steps, trained):
    run = trained("run", PLATEAU, row="A+B+C")
    before = content(run)
    with pytest.raises(RunError, match=r"run.log_every: was 2, is 3, and schedule 'plateau' hears each record"):
        trained("run", PLATEAU, "run.log_every=3", row="A+B+C", steps=steps)
    assert content(run) == before


@pytest.mark.parametrize("steps", [6.5, 9.0, True, float("nan"), "9", np.float64(9), np.True_])
def test_steps_that_are_no_whole_number_are_refused_before_anything_is_written(steps, trained):
    run = trained("run")
    before = content(run)
    wanted = f"steps = {steps!r} ({type(steps).__name__}) is no whole number; give one of at least 1"
    with pytest.raises(RecipeError, match=re.escape(wanted)):
        trained("run", steps=steps)
    assert content(run) == before


def test_steps_beyond_what_a_recipe_can_hold_are_refused(tiny):
    recipe = genprior.load_recipe(tiny)
    for steps in (2**63, 10**5000):
        with pytest.raises(RecipeError, match="steps is an integer beyond 64 bits, the limit of TOML; give fewer"):
            recipe.lasting(steps)
    assert {plan.run.steps for plan in recipe.lasting(2**63 - 1).plans} == {2**63 - 1}


def test_steps_may_be_an_integer_of_numpy(trained):
    run = trained("run", steps=np.int64(4))
    assert RunFolder(run).plan().run.steps == 4 and type(load_run(run).facts["step"]) is int


def test_a_run_whose_schedules_hear_no_records_may_be_recorded_more_rarely(trained):
    run = trained("run", *SCHEDULES["step"])
    trained("run", "run.log_every=3", *SCHEDULES["step"], steps=9)
    assert RunFolder(run).facts()["step"] == 9
