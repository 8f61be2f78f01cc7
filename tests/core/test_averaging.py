"""Averaged weights as a share of a run: what is averaged, what stays as it was, and the warning of long averages."""

from __future__ import annotations

import tomllib
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

import genprior
from genprior.engine.ema import AveragedWeights
from genprior.errors import GenpriorWarning
from genprior.launch.preflight import preflight
from genprior.recipe.averaging import long_average
from genprior.runs.trainer import Trainer

RECIPES = Path(__file__).parents[2] / "recipes"


def counts(decay, share, steps):
    """How much each step counts in the average: weight t is 1 after step t, and 0 after the others."""
    module = nn.Linear(1, steps, bias=False).double()
    average = AveragedWeights({"decoder": module}, decay, share)
    for step in range(steps):
        with torch.no_grad():
            module.weight.zero_()[step] = 1.0
        average.update(step)
    return average.tensors["decoder.weight"].flatten().tolist()


def age(each):
    """The mean age of the weights in an average, in steps."""
    return sum(count * (len(each) - 1 - t) for t, count in enumerate(each))


@pytest.mark.parametrize("steps", [1, 2, 60])
def test_a_share_of_one_is_the_mean_of_all_steps(steps):
    assert counts(None, 1.0, steps) == pytest.approx([1 / steps] * steps)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_a_share_is_the_same_share_of_runs_of_any_length(share):
    """Weights about proportional to t^(1 / share - 1), whose mean age is share / (1 + share) of the steps so far."""
    for steps in (1000, 2000):
        each = counts(None, share, steps)
        assert sum(each) == pytest.approx(1)
        assert age(each) / steps == pytest.approx(share / (1 + share), abs=2 / steps)


@given(st.floats(0.1, 0.99), st.floats(0.01, 1.0), st.integers(1, 40))
@settings(max_examples=30)
def test_a_share_only_shortens_an_average(decay, share, steps):
    capped, by_decay, by_share = (counts(*both, steps) for both in ((decay, share), (decay, None), (None, share)))
    assert sum(capped) == pytest.approx(1) and min(capped) >= 0
    assert age(capped) <= min(age(by_decay), age(by_share)) + 1e-6


def test_a_long_run_keeps_the_average_of_its_decay():
    """Where the window of the decay is far less than the share, the average is the one of the decay alone."""
    assert counts(0.98, 0.1, 3000) == pytest.approx(counts(0.98, None, 3000), abs=1e-12)


def test_a_run_holds_the_average_of_its_own_weights(tiny, tmp_path):
    """With a share of 1 it is the mean of the weights of its checkpoints."""
    short = ["run.steps=3", "run.checkpoint_every=1", "run.keep.last=9"]
    (plan,) = genprior.load_recipe(
        tiny, rows=["AAE"], settings=[*short, "run.hooks.pictures.enabled=false", "scores=[]", "run.ema_share=1.0"]
    ).plans
    Trainer(plan, 0, tmp_path / "run", device="cpu").run()
    each = [load_file(path) for path in sorted((tmp_path / "run" / "checkpoints").glob("*.safetensors"))]
    averages = {name for name in each[-1] if name.startswith("average/")}
    assert len(each) == 3 and averages
    for name in averages:
        live = [tensors[name.replace("average/", "model/", 1)] for tensors in each]
        if live[0].is_floating_point():
            torch.testing.assert_close(each[-1][name], torch.stack(live).mean(0), rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# The warning
# ---------------------------------------------------------------------------------------------------------------------


def plan_with(tiny, *changed):
    return genprior.load_recipe(tiny, rows=["AAE"], settings=list(changed)).plans[0]


@pytest.mark.parametrize(
    ("given_settings", "text"),
    [
        (["run.steps=800", "run.ema=0.998"], "run.ema = 0.998 averages the weights of about 500 of the 800 steps. "),
        (["run.steps=800", "run.ema=0.999"], "run.ema = 0.999 averages the weights of about 800 of the 800 steps. "),
        (["run.steps=800", "run.ema_share=0.2"], "run.ema_share = 0.2 averages the weights of about 160 of the 800 "),
        (["run.steps=99", "run.ema=0.99"], None),
        (["run.steps=100", "run.ema=0.9"], None),
        (["run.steps=800", "run.ema=0.998", "run.ema_share=0.1"], None),
        (["run.steps=800", "run.ema_share=0.05"], None),
        (["run.steps=800"], None),
    ],
)
def test_an_average_over_more_than_a_tenth_of_a_run_is_a_warning(tiny, given_settings, text):
    found = long_average(plan_with(tiny, *given_settings))
    assert (found is None) == (text is None)
    if text is not None:
        assert found.startswith(text) and found.endswith(
            "While a run still learns, earlier weights sample and score worse than the last ones. Set run.ema_share = "
            "0.05, which limits the average to that share of the steps so far; up to 0.1 there is no warning"
        )


def test_epochs_count_as_their_steps(tiny):
    plan = plan_with(tiny, "run.steps=800", "run.ema=0.99")
    images = plan.data.make().training_images()
    for steps in (900, 1100):
        counted = plan_with(tiny, f"run.epochs={steps * plan.run.batch / images}", "run.ema=0.99")
        assert (long_average(counted) is not None) == (steps == 900)


def test_what_is_tried_before_training_warns_of_it_with_its_rows(tiny):
    recipe = genprior.load_recipe(tiny, rows=["AAE", "A+B+C"], settings=["run.steps=200", "run.ema=0.98"])
    with pytest.warns(GenpriorWarning, match="^row .*AAE.*: run.ema = 0.98 averages the weights of about 50 "):
        preflight(recipe, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        preflight(genprior.load_recipe(tiny, rows=["AAE"], settings=["run.steps=200", "run.ema=0.95"]), device="cpu")


def named_changes(path):
    """The changes that are not those of rows."""
    table = tomllib.loads(path.read_text())
    rows = {change for row in table.get("row", []) for change in row.get("changes", [])}
    return [[]] + [[change] for change in table.get("change", {}) if change not in rows]


@pytest.mark.parametrize("path", sorted(RECIPES.rglob("*.toml")), ids=lambda path: path.stem)
def test_no_recipe_averages_more_than_a_tenth_of_a_run(path):
    for changes in named_changes(path):
        for plan in genprior.load_recipe(path, changes=changes).plans:
            stages = [plan] if plan.fitted_prior is None else [plan.first_stage(), plan]
            assert [long_average(stage) for stage in stages] == [None] * len(stages), (path.name, changes, plan.label)
