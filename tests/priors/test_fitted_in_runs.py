"""Fitted priors in runs: one first stage, an interruption and resuming bit for bit, and the images of a loaded run."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import genprior
from genprior import Interrupted
from genprior.recipe.load import Recipe
from genprior.runs.jobs import jobs_of, with_first_stages
from genprior.runs.second_stage import trainer_of
from tests.small import aae

RECIPE = f"""
title = "fitted priors"
[run]
steps = 4
batch = 16
log_every = 2
checkpoint_every = 2
sample_every = 100
hooks.pictures.enabled = false
fit = {{ steps = 4, batch = 32, ema = 0.5, optimiser.default = {{ name = "adam", lr = 1e-2 }} }}
[data]
name = "digits"
size = 8
[optimiser.default]
name = "adam"
lr = 1e-3
{aae().replace('conditioner = { name = "none" }', 'conditioner = { name = "label" }')}
[change.kde.model]
fitted_prior = {{ name = "kde" }}
[change.nearest.model]
fitted_prior = {{ name = "nearest" }}
[change.noise_contrastive.model]
fitted_prior = {{ name = "noise_contrastive", proposals = 4, base = {{ name = "kde", bandwidth = "scott" }} }}
[change.two_stage_vae.model]
fitted_prior = {{ name = "two_stage_vae", hidden = [8] }}
"""
PRIORS = ("kde", "nearest", "noise_contrastive", "two_stage_vae")


def recipe() -> Recipe:
    rows = [f'[[row]]\nlabel = "{name}"\nchanges = ["{name}"]\n' for name in PRIORS]
    return genprior.make_recipe(tomllib.loads(RECIPE + "".join(rows)))


def train(out: Path, interrupted: tuple[str, ...] = ()) -> None:
    """Train all rows; the fits of those that are named are interrupted after their second step, and resumed."""
    jobs = with_first_stages(jobs_of(recipe(), out))
    assert len(jobs) == 5  # one first stage for all
    for job in jobs:
        if job.plan.label in interrupted:
            calls = iter((False, True))
            with pytest.raises(Interrupted):
                trainer_of(job, device="cpu", stop=lambda calls=calls: next(calls)).run()  # type: ignore[misc]
        trainer_of(job, device="cpu").run()


def test_they_resume_bit_for_bit_and_draw_images_of_labels(tmp_path: Path) -> None:
    train(tmp_path / "whole")
    train(tmp_path / "parts", interrupted=("noise_contrastive", "two_stage_vae"))
    for name in PRIORS:
        one, two = (tmp_path / out / name / "seed-0" for out in ("whole", "parts"))
        whole, parts = (load_file(sorted((run / "checkpoints").glob("*.safetensors"))[-1]) for run in (one, two))
        assert whole.keys() == parts.keys()
        assert all(torch.equal(whole[key], parts[key]) for key in whole)
        images = genprior.load_run(one).sample(6, label="3")
        assert images.shape == (6, 1, 8, 8)
        assert not torch.equal(images[0], images[1])
        assert torch.equal(images, genprior.load_run(two).sample(6, label="3"))
