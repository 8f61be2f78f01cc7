"""The second stage: sharing of the first one, resuming both, freezing, and what is refused."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import genprior
from genprior import GenpriorError, Interrupted, RecipeError, RunError
from genprior.recipe.load import Recipe
from genprior.runs.jobs import FIRST_STAGES, jobs_of, with_first_stages
from genprior.runs.second_stage import trainer_of
from tests.small import aae
from tests.small_fitted import Bag

RECIPE = """
title = "two stages"
[run]
steps = 6
batch = 16
log_every = 2
checkpoint_every = 2
sample_every = 100
hooks.pictures.enabled = false
fit = { steps = 5, batch = 32, ema = 0.5, optimiser.default = { name = "adam", lr = 1e-2 } }
[data]
name = "digits"
size = 8
[optimiser.default]
name = "adam"
lr = 1e-3
%s
[change.affine.model]
fitted_prior = { name = "affine" }
[change.bag.model]
fitted_prior = { name = "bag" }
[[row]]
label = "AAE"
changes = []
[[row]]
label = "affine"
changes = ["affine"]
[[row]]
label = "bag"
changes = ["bag"]
"""


def recipe(*, model: str | None = None, rows: list[str] | None = None, settings: tuple[str, ...] = ()) -> Recipe:
    return genprior.make_recipe(tomllib.loads(RECIPE % (model or aae())), rows=rows, settings=settings)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (path,) = sorted((folder / "checkpoints").glob("*.safetensors"))[-1:]
    return load_file(path)


def train(recipe: Recipe, out: Path, *, stop_after: int | None = None) -> None:
    """Train the jobs of a recipe one after another; stop with a checkpoint after so many steps of all of them."""
    done = 0

    def stop() -> bool:
        nonlocal done
        done += 1
        return stop_after is not None and done >= stop_after

    for job in with_first_stages(jobs_of(recipe, out)):
        trainer_of(job, device="cpu", stop=stop).run()


def test_the_row_without_a_fitted_prior_is_the_first_stage_of_the_others(tmp_path: Path) -> None:
    train(recipe(), tmp_path)
    assert not (tmp_path / FIRST_STAGES).exists()
    first = weights(tmp_path / "AAE" / "seed-0")
    for row in ("affine", "bag"):
        second = weights(tmp_path / row / "seed-0")
        own = {name for name in second if name.startswith("model/fitted_prior.")}
        of_model = {name for name in second if name.startswith("model/")} - own
        assert own
        assert of_model == {name for name in first if name.startswith("model/")}
        assert all(torch.equal(second[name], first[name]) for name in of_model)  # frozen, batch statistics too
        facts = json.loads((tmp_path / row / "seed-0" / "run.json").read_text())
        assert facts["first_stage"]["folder"] == "../../AAE/seed-0"


def test_rows_share_a_first_stage_that_is_no_row(tmp_path: Path) -> None:
    two = recipe(rows=["affine", "bag"])
    jobs = with_first_stages(jobs_of(two, tmp_path))
    assert [job.plan.label for job in jobs] == ["first stage", "affine", "bag"]
    assert jobs[1].first == jobs[2].first == jobs[0].folder
    assert jobs[0].folder.parent.parent == tmp_path / FIRST_STAGES
    table = genprior.train(two, out=tmp_path)
    assert [row.label for row in table.rows] == ["affine", "bag"]
    assert len(list((tmp_path / FIRST_STAGES).glob("*/seed-0"))) == 1
    # With the row of the first stage added later, what is finished stays, and is not trained again.
    assert with_first_stages(jobs_of(two, tmp_path)) == jobs_of(two, tmp_path)


def test_the_first_stage_has_the_weights_of_a_row_alone(tmp_path: Path) -> None:
    train(recipe(rows=["bag"]), tmp_path / "two")
    train(recipe(rows=["AAE"]), tmp_path / "one")
    (first,) = (tmp_path / "two" / FIRST_STAGES).glob("*/seed-0")
    one, two = weights(tmp_path / "one" / "AAE" / "seed-0"), weights(first)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("instant", range(1, 11))
def test_it_resumes_at_every_instant_of_both_stages_bit_for_bit(tmp_path: Path, instant: int) -> None:
    wanted = recipe(rows=["affine"])
    train(wanted, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(wanted, tmp_path / "resumed", stop_after=instant)
    train(wanted, tmp_path / "resumed")
    one, two = (weights(tmp_path / out / "affine" / "seed-0") for out in ("whole", "resumed"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    lines = [(tmp_path / out / "affine" / "seed-0" / "metrics.jsonl").read_text() for out in ("whole", "resumed")]
    kept = [
        [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in text.splitlines()] for text in lines
    ]
    assert kept[0] == kept[1]


def test_images_come_from_the_fitted_prior_with_averaged_weights(tmp_path: Path) -> None:
    train(recipe(rows=["affine"]), tmp_path)
    run = genprior.load_run(tmp_path / "affine" / "seed-0")
    saved = weights(tmp_path / "affine" / "seed-0")
    network = run.model.fitted_prior.network
    assert torch.equal(network["m"], saved["average/fitted_prior.network.m"])
    assert not torch.equal(network["m"], saved["model/fitted_prior.network.m"])
    with torch.no_grad():
        network["m"].fill_(3)
        network["s"].fill_(-30)  # a point mass
    images = run.sample(4)
    assert torch.equal(images, run.decode(torch.full((4, 4), 3.0)))


def test_codes_are_posterior_draws_of_the_training_images_in_order(tmp_path: Path) -> None:
    train(recipe(rows=["bag"], settings=("run.fit.draws=2",)), tmp_path)
    run = genprior.load_run(tmp_path / "bag" / "seed-0")
    means = run.encode(run.images("train").images)  # the encoder of the small model gives single codes
    assert torch.allclose(run.model.fitted_prior.codes, torch.cat([means, means]), atol=1e-6)


@pytest.mark.parametrize(("instant", "row", "step"), [(3, "AAE", 3), (9, "affine", 3)])
def test_an_interrupted_run_is_at_the_step_of_its_checkpoint(tmp_path: Path, instant: int, row: str, step: int) -> None:
    with pytest.raises(Interrupted):
        train(recipe(rows=["AAE", "affine"]), tmp_path, stop_after=instant)
    run = genprior.load_run(tmp_path / row / "seed-0")
    assert run.checkpoint is not None and run.checkpoint.stem == f"step-{step:08d}"
    assert run.step == step  # and not the last one that was recorded, every 2 steps


def test_show_tells_of_both_stages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from genprior.cli.print_run import print_run

    train(recipe(rows=["affine"]), tmp_path)
    run = genprior.load_run(tmp_path / "affine" / "seed-0")
    print_run(run)
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "fits prior 'affine' to the codes of ../../.first-stages/" in shown
    assert "step 5 of 5" in shown
    assert run.first_stage is not None
    assert run.first_stage["parameters"]["encoder"] > 0


def test_an_unfinished_first_stage_is_refused(tmp_path: Path) -> None:
    (job,) = jobs_of(recipe(rows=["affine"]), tmp_path)
    with pytest.raises(RunError, match="first stage of row 'affine', .*, has not begun, and a prior is fitted to the"):
        trainer_of(job, device="cpu").run()
    first = with_first_stages([job])[0]
    trainer_of(first, device="cpu").run(until=4)
    with pytest.raises(RunError, match="is trained to step 4 of 6"):
        trainer_of(job, device="cpu").run()
    assert not (job.folder / "run.json").exists()


def test_a_first_stage_that_changed_under_a_fit_is_refused(tmp_path: Path) -> None:
    wanted = recipe(rows=["affine"])
    (job,) = jobs_of(wanted, tmp_path)
    with pytest.raises(Interrupted):
        train(wanted, tmp_path, stop_after=8)
    assert job.first is not None
    shutil.rmtree(job.first)
    other = recipe(rows=["affine"], settings=("optimiser.default.lr=2e-3",))
    (elsewhere,) = jobs_of(other, tmp_path / "other")
    assert elsewhere.first is not None
    trainer_of(with_first_stages([elsewhere])[0], device="cpu").run()
    shutil.copytree(elsewhere.first, job.first)
    with pytest.raises(RunError, match="is of another recipe: optimiser.default.lr"):
        trainer_of(job, device="cpu").run()
    shutil.copy(tmp_path / "affine" / "seed-0" / "recipe.toml", tmp_path / "recipe.toml")
    text = (job.first / "recipe.toml").read_text().replace("lr = 0.002", "lr = 0.001")
    (job.first / "recipe.toml").write_text(text)
    with pytest.raises(RunError, match="has changed since the fit began: its weights had the hash"):
        trainer_of(job, device="cpu").run()


def test_bad_input_is_refused_before_training(tmp_path: Path) -> None:
    def refused(match: str, *settings: str, rows: list[str] | None = None) -> None:
        with pytest.raises(GenpriorError, match=match):
            genprior.train(recipe(rows=rows or ["affine"], settings=settings), out=tmp_path)
        assert not list(tmp_path.iterdir())

    refused("prior 'bag' needs 1438 codes, and there are 1437", "model.fitted_prior.least=1438", rows=["bag"])
    refused("run.fit.batch = 1438 is more than the 1437 codes of the training images", "run.fit.batch=1438")
    refused(
        "run.fit.optimiser.encoder is not a module of fitted_prior 'affine'. Possible: default, network",
        'run.fit.optimiser.encoder={name="adam",lr=1e-3}',
    )
    refused("run.fit.step.*did you mean 'steps'", "run.fit.step=3")
    with pytest.raises(RecipeError, match="fitted_prior = 'gaussian' cannot be fitted to codes after training"):
        recipe(rows=["AAE"], settings=('model.fitted_prior={name="gaussian"}',))
    nested = '{ name = "code_generator", noise_prior = { name = "bag" } }'
    for role, prior in (("prior", '{ name = "bag" }'), ("noise_prior", nested)):
        with pytest.raises(
            GenpriorError, match=f"{role} = 'bag' is fitted to the codes of a trained model, and cannot"
        ):
            genprior.train(recipe(model=aae(prior=prior), rows=["AAE"]), out=tmp_path)


def test_a_model_without_codes_names_those_that_have_some() -> None:
    tables = tomllib.loads(RECIPE % aae())
    tables["model"] = {"name": "gan", "fitted_prior": {"name": "bag"}}
    with pytest.raises(RecipeError, match="'gan' has no setting 'fitted_prior', which would have no effect; it is"):
        genprior.make_recipe({**tables, "row": [{"label": "GAN", "changes": []}]})


def test_lists_of_parts_say_which_priors_are_fitted() -> None:
    assert Bag.summary() == "Draws the codes of training images with a little noise. Fitted to codes after training."


def test_a_fitted_row_is_not_lengthened(tmp_path: Path) -> None:
    wanted = recipe(rows=["bag"])
    train(wanted, tmp_path)
    with pytest.raises(RunError, match="prior 'bag' is fitted to the codes of a model of 6 steps, and a longer"):
        genprior.train(wanted, out=tmp_path, steps=12)


def test_settings_of_the_fit_are_those_of_rows_with_a_fitted_prior(tmp_path: Path) -> None:
    train(recipe(), tmp_path)
    more = recipe(settings=("run.fit.steps=7",))
    of = {plan.label: plan for plan in more.plans}
    held: Any = genprior.load_run(tmp_path / "AAE" / "seed-0").plan.as_table()
    assert of["AAE"].differences(held) == []
    held = genprior.load_run(tmp_path / "affine" / "seed-0").plan.as_table()
    assert of["affine"].differences(held) == ["run.fit.steps: was 5, is 7"]
