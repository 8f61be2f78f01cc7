"""What a fit does when its first stage, its settings or its numbers are in trouble."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import genprior
from genprior import Codes, GenpriorError, Interrupted, NotFinite, Objectives, RunError, Score, ScoreError
from genprior.runs.jobs import FIRST_STAGES, jobs_of, with_first_stages
from genprior.runs.second_stage import trainer_of
from tests.small_fitted import Affine

from .test_second_stage import recipe, train, weights


class Refusing(Score):
    """A score that cannot be measured on the row whose prior is not fitted."""

    name = "refusing"
    higher_is_better = True
    rehearsed = False

    def measure(self, context: Any) -> dict[str, float]:
        with context.trained() as model:
            if model.part_for("fitted_prior") is None:
                raise ScoreError("it is refused")
        return {"refusing": 1.0}


def test_a_first_stage_that_cannot_be_scored_is_fitted_to_all_the_same(tmp_path: Path) -> None:
    genprior.register(Refusing)
    with pytest.raises(ScoreError, match="it is refused"):
        genprior.train(recipe(rows=["AAE", "affine"], settings=('scores=[{name="refusing"}]',)), out=tmp_path)
    run = genprior.load_run(tmp_path / "affine" / "seed-0")
    assert run.finished
    assert run.scores == {"refusing": 1.0}


def test_a_first_stage_without_checkpoints_says_what_to_remove(tmp_path: Path) -> None:
    wanted = recipe(rows=["affine"])
    (job,) = jobs_of(wanted, tmp_path)
    assert job.first is not None
    trainer_of(with_first_stages([job])[0], device="cpu").run()
    before = weights(job.first)
    weights_file = sorted((job.first / "checkpoints").glob("*.safetensors"))[-1]
    sound = weights_file.read_bytes()
    weights_file.write_bytes(sound[:-1])
    (second,) = jobs_of(wanted, tmp_path)
    with pytest.raises(RunError, match=r"cannot be loaded: .*[^.]\. Nothing was changed"):
        trainer_of(second, device="cpu").run()
    weights_file.write_bytes(sound)
    for path in (job.first / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(RunError, match="cannot be loaded: .* has no checkpoint yet.* remove that folder: the same"):
        train(wanted, tmp_path)
    shutil.rmtree(job.first)
    train(wanted, tmp_path)
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(job.first).items())


def test_another_recipe_is_refused_before_its_first_stage_is_trained(tmp_path: Path) -> None:
    train(recipe(rows=["affine"]), tmp_path)
    before = sorted((tmp_path / FIRST_STAGES).iterdir())
    with pytest.raises(RunError, match="holds runs of another recipe:\n  run.steps: was 6, is 8") as refused:
        genprior.train(recipe(rows=["affine"], settings=("run.steps=8",)), out=tmp_path)
    assert "--steps" not in str(refused.value)
    assert sorted((tmp_path / FIRST_STAGES).iterdir()) == before


def test_a_fit_in_closed_form_does_not_depend_on_the_number_of_steps(tmp_path: Path) -> None:
    train(recipe(rows=["bag"]), tmp_path)
    held = genprior.load_run(tmp_path / "bag" / "seed-0").plan.as_table()
    (plan,) = recipe(rows=["bag"], settings=("run.fit.steps=9", "run.fit.batch=7")).plans
    assert plan.differences(held) == []
    (plan,) = recipe(rows=["bag"], settings=("run.fit.draws=3",)).plans
    assert plan.differences(held) == ["run.fit.draws: was 1, is 3"]


class Diverging(Affine):
    """Has a loss that is not finite from the third step on."""

    name = "diverging"

    def fit(self, codes: Codes) -> Objectives:
        loss = super().fit(codes)["network"]
        assert codes.step is not None
        return Objectives({"network": loss * torch.where(codes.step > 1, torch.nan, 1.0)})


def test_advice_for_a_fit_names_its_own_settings(tmp_path: Path) -> None:
    genprior.register(Diverging)
    wanted = recipe(rows=["affine"], settings=('model.fitted_prior={name="diverging"}',))
    with pytest.raises(NotFinite, match=r"\(run.fit.optimiser.network.lr\) or, under bf16, try --set .run.fit"):
        train(wanted, tmp_path)


def test_early_stopping_is_of_the_first_stage(tmp_path: Path) -> None:
    """Its score needs the density of the prior of training, whatever is fitted afterwards."""
    model = """
[model]
name = "vae"
code_size = 4
prior = { name = "gaussian" }
encoder = { name = "mlp", hidden = [8], posterior = "gaussian" }
decoder = { name = "mlp", hidden = [8] }
reconstruction = { name = "pixel", metric = "gaussian", sigma = 0.5, reduction = "sum" }
"""
    stop = 'run.stop={score={name="elbo"},every=2,patience=1}'
    wanted = recipe(model=model, rows=["bag"], settings=(stop, "data.validation=100"))
    genprior.train(wanted, out=tmp_path)
    assert genprior.load_run(tmp_path / "bag" / "seed-0").finished


def test_messages_of_the_check_have_the_batch_of_the_recipe(tmp_path: Path) -> None:
    with pytest.raises(GenpriorError, match="run.fit.batch = 5000 is more than the 1437 codes of the training images"):
        genprior.train(recipe(rows=["affine"], settings=("run.fit.batch=5000",)), out=tmp_path)
    two = genprior.in_memory(torch.rand(3, 1, 8, 8), range=(0, 1), test_fraction=0.4)
    tables = {**_tables(), "data": two}
    with pytest.raises(GenpriorError, match="run.fit.batch = 32 is more than the 2 codes"):
        genprior.train(genprior.make_recipe(tables, rows=["affine"], settings=["run.batch=1"]), out=tmp_path)


def _tables() -> dict[str, Any]:
    import tomllib

    from tests.small import aae

    from .test_second_stage import RECIPE

    return tomllib.loads(RECIPE % aae())


def test_an_interrupted_first_stage_is_resumed_before_the_fit(tmp_path: Path) -> None:
    wanted = recipe(rows=["affine"])
    with pytest.raises(Interrupted):
        train(wanted, tmp_path, stop_after=3)
    (job,) = jobs_of(wanted, tmp_path)
    with pytest.raises(RunError, match="is trained to step 3 of 6"):
        trainer_of(job, device="cpu").run()


@pytest.mark.parametrize(
    ("given", "wrong"),
    [("-1.0", "input should be greater than 0"), ('"wide"', "input should be a valid number")],
)
def test_a_setting_of_several_types_is_one_mistake(given: str, wrong: str) -> None:
    with pytest.raises(genprior.RecipeError) as refused:
        recipe(rows=["bag"], settings=(f'model.fitted_prior={{name="kde",bandwidth={given}}}',))
    text = str(refused.value)
    assert text.count("bandwidth") == 2  # the path, and the setting that was given
    assert f"input should be 'cross_validation', 'scott' or 'silverman', or {wrong}" in text
    assert "literal[" not in text and "constrained" not in text
