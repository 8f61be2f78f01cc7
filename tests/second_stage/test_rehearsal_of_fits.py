"""The codes on which a fit is rehearsed before training: few, of every label, and with each row named once."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

import genprior
from genprior import ImageSet, RecipeError
from genprior.data.batches import DeviceData
from genprior.launch.preflight import preflight
from genprior.runs.jobs import jobs_of
from genprior.runs.second_stage import SecondStage
from tests.small import aae

from .test_second_stage import RECIPE, recipe


def rehearsed(settings: tuple[str, ...], folder: Path) -> SecondStage:
    (job,) = jobs_of(recipe(rows=["bag"], settings=settings), folder)
    trainer = SecondStage(job.plan, job.seed, job.folder, first=None, device="cpu")
    trainer.prepare()
    return trainer


@pytest.mark.parametrize(("draws", "codes"), [(1, 1437), (2, 2000), (1_000_000, 2000)])
def test_many_draws_are_rehearsed_on_few_codes(draws: int, codes: int, tmp_path: Path) -> None:
    trainer = rehearsed((f"run.fit.draws={draws}",), tmp_path)
    assert codes <= len(trainer.fitted.codes) < codes + 500  # type: ignore[arg-type]


def test_a_prior_that_takes_no_fewer_codes_is_rehearsed_on_more(tmp_path: Path) -> None:
    bag = 'model.fitted_prior={name="bag",least=3000}'
    trainer = rehearsed(("run.fit.draws=1000000", bag), tmp_path)
    assert 4000 <= len(trainer.fitted.codes) < 4500  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["kde", "gaussian_mixture"])
def test_a_set_that_is_sorted_by_label_is_rehearsed_on_all_labels(name: str, tmp_path: Path) -> None:
    labels = torch.cat([torch.zeros(2600, dtype=torch.int64), torch.ones(3, dtype=torch.int64)])
    held_out = (torch.rand(9, 1, 8, 8), labels[-9:])
    data = genprior.in_memory(torch.rand(2603, 1, 8, 8), range=(0, 1), labels=labels, test=held_out)
    model: dict[str, Any] = tomllib.loads(RECIPE % aae())
    settings = {"kde": "{name='kde'}", "gaussian_mixture": "{name='gaussian_mixture',components=2}"}[name]
    tables = {**model, "data": data}
    wanted = genprior.make_recipe(
        tables,
        rows=["affine"],
        settings=[f"model.fitted_prior={settings}", "model.conditioner={name='label'}", "run.fit.draws=4"],
    )
    assert preflight(wanted, "cpu") == []  # refused, if a label had no code; steps are timed only on request


def test_images_in_turn_are_all_images_with_each_label_early() -> None:
    labels = torch.tensor([2, 2, 2, 0, 0, 1])
    images = torch.arange(6, dtype=torch.uint8).reshape(6, 1, 1, 1).expand(6, 1, 4, 4).contiguous()
    data = DeviceData(ImageSet(images, labels, ("0", "1", "2")), "cpu", batch=2, seed=0)
    found = [batch.index.tolist() for batch in data.in_order(4, in_turn=True) if batch.index is not None]
    assert found == [[3, 5, 0, 4], [1, 2]]
    assert [batch.index.tolist() for batch in data.in_order(4) if batch.index is not None] == [[0, 1, 2, 3], [4, 5]]


def test_a_mistake_of_both_stages_names_its_row_once(tmp_path: Path) -> None:
    wrong = recipe(rows=["AAE", "bag"], settings=("run.batch=100000",))
    with pytest.raises(RecipeError, match=r"run.batch = 100000 is more than .* \[row AAE, bag\]"):
        preflight(wrong, "cpu")
