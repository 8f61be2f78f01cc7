"""Epochs as the unit of the length of training: ceil(epochs * training images / batch) steps."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genprior
from genprior import DataError, PlanError, RecipeError, load_recipe
from genprior.recipe.length import with_steps
from genprior.recipe.plan import Plan
from genprior.runs.trainer import Trainer
from genprior_std.datasets.digits import Digits

IMAGES = 1437
"""Training images of the digits."""


def in_epochs(tiny, epochs="2"):
    tiny.write_text(tiny.read_text().replace("steps = 6", f"epochs = {epochs}"))
    return tiny


def message(path, **given):
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, **given)
    return str(caught.value)


@pytest.mark.parametrize(("epochs", "steps"), [("2", 360), ("1", 180), ("0.5", 90), ("0.001", 1)])
def test_epochs_become_steps_when_a_recipe_is_read(epochs, steps, tiny):
    for plan in load_recipe(in_epochs(tiny, epochs)).plans:
        assert plan.run.steps == steps == math.ceil(Fraction(epochs) * IMAGES / 8)
        assert plan.run.epochs is None
        assert f"steps = {steps}" in plan.as_toml() and "epochs" not in plan.as_toml()


@settings(deadline=None)
@given(st.integers(1, 10_000), st.integers(1, 500), st.integers(1, 400))
def test_the_number_of_steps_is_rounded_up_exactly(hundredths, images, batch):
    data = Digits.Config()
    run = {"epochs": hundredths / 100, "batch": batch}
    plan = Plan.model_construct(run=genprior.recipe.plan.RunConfig(**run), data=data, label="A")
    steps = with_steps(plan, {data.model_dump_json(): images}).run.steps
    assert (steps - 1) * batch * 100 < hundredths * images <= steps * batch * 100


def test_validation_images_are_not_training_images(tiny):
    (plan, _) = load_recipe(in_epochs(tiny), settings=["data.validation=37"]).plans
    assert plan.run.steps == 2 * (IMAGES - 37) / 8


def test_images_whose_label_is_hidden_count(tiny):
    plan = load_recipe(in_epochs(tiny, "1"), settings=["run.labels=20"]).plans[0]
    assert plan.run.steps == math.ceil(IMAGES / 8)


def test_one_unit_is_needed(tiny):
    both = tiny.read_text().replace("steps = 6", "steps = 6\nepochs = 2")
    neither = tiny.read_text().replace("steps = 6", "")
    tiny.write_text(both)
    assert (
        "tiny.toml:4: run.steps: run.steps = 6 and run.epochs = 2.0 both say how long to train; leave one"
        in message(tiny)
    )
    tiny.write_text(neither)
    text = "run.steps: is missing: give run.steps, or run.epochs, which counts passes over the training images"
    assert text in message(tiny)


@pytest.mark.parametrize("epochs", ["0", "-1", "inf", '"two"'])
def test_wrong_epochs_are_the_only_mistake(epochs, tiny):
    text = message(in_epochs(tiny, epochs))
    assert "the recipe has a mistake:" in text and "run.epochs: " in text


def test_epochs_of_more_steps_than_a_recipe_can_hold_are_refused(tiny):
    for epochs in ("1e300", "1e20"):
        text = message(in_epochs(tiny, epochs))
        assert "run.epochs = 1e+" in text and "is an integer beyond 64 bits, the limit of TOML, in steps; give" in text
        tiny.write_text(tiny.read_text().replace(f"epochs = {epochs}", "steps = 6"))
    recipe = load_recipe(in_epochs(tiny, "5e16"))
    assert recipe.plans[0].run.steps == math.ceil(Fraction(5 * 10**16) * IMAGES / 8) < 2**63


def test_a_setting_replaces_the_other_unit(tiny):
    assert load_recipe(tiny, settings=["run.epochs=1"]).plans[0].run.steps == 180
    assert load_recipe(in_epochs(tiny), settings=["run.steps=7"]).plans[0].run.steps == 7
    assert load_recipe(tiny, settings=["run.steps=7", "run.epochs=1"]).plans[0].run.steps == 360 / 2


def test_a_change_replaces_the_other_unit_and_two_changes_conflict(tiny):
    tiny.write_text(tiny.read_text() + "[change.long.run]\nepochs = 3\n[change.short.run]\nsteps = 2\n")
    assert load_recipe(tiny, changes=["long"]).plans[0].run.steps == 539
    text = "changes 'long' and 'short' of one row set run.epochs and run.steps, of which a row has one"
    assert text in message(tiny, changes=["long", "short"])


def test_data_that_cannot_be_read_says_so(tiny):
    settings = ['data={name="arrays",path="/nowhere/images.npz"}']
    assert load_recipe(tiny, settings=settings).plans[0].run.steps == 6
    with pytest.raises(DataError, match=r"path = /nowhere/images.npz does not exist"):
        load_recipe(in_epochs(tiny), settings=settings)


def test_what_a_data_set_raises_names_it(tiny, monkeypatch):
    def fails(self, split):
        raise ZeroDivisionError("no images")

    monkeypatch.setattr(Digits, "load", fails)
    with pytest.raises(PlanError, match="row 'AAE': data set 'digits' raised ZeroDivisionError: no images, while its"):
        load_recipe(in_epochs(tiny))


@pytest.mark.usefixtures("no_curves")
def test_a_run_in_epochs_is_the_run_in_steps_and_resumes(tiny, tmp_path):
    """The run folder holds the steps, so that the same recipe in either unit is the same run."""
    short = ["run.batch=360", "run.log_every=2"]
    epochs, steps = (load_recipe(tiny, settings=[*short, each]).row("AAE") for each in ("run.epochs=1", "run.steps=4"))
    assert epochs.run.steps == 4
    Trainer(epochs, 0, tmp_path / "run").run(until=2)
    Trainer(steps, 0, tmp_path / "run").run()
    run = genprior.load_run(tmp_path / "run")
    assert (run.step, run.plan.run.steps, run.plan.run.epochs) == (4, 4, None)


def test_a_plan_made_in_python_is_resolved_before_it_is_trained(tiny, tmp_path):
    plan = load_recipe(tiny).row("AAE")
    run = plan.run.model_copy(update={"epochs": 0.5})
    assert Trainer(plan.model_copy(update={"run": run}), 0, tmp_path).plan.run.steps == 90


def test_the_command_line_knows_epochs(tiny, call):
    """`show` prints the steps, `check` takes one of them, and both refuse two units."""
    tiny.write_text(tiny.read_text().replace("[run]", "[run]\nhooks.pictures.enabled = false"))
    shown = call("show", tiny, "--row", "AAE", "--set", "run.epochs=1")
    assert shown.exit_code == 0 and "steps = 180" in shown.output
    assert call("check", tiny, "--rows", "AAE", "--set", "run.epochs=1").exit_code == 0
    refused = call("check", in_epochs(tiny), "--set", "run.steps=3", "--set", "run={steps=3,epochs=1}")
    assert refused.exit_code == 2 and "both say how long to train; leave one out" in refused.output
