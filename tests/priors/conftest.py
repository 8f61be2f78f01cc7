from __future__ import annotations

from pathlib import Path

import pytest

import genprior
from genprior.registry import installed

from ..small import aae
from ..small_fitted import Affine, Bag

RECIPE = (
    """\
title = "Few priors"
[run]
steps = 4
batch = 16
seeds = [0, 1, 2]
log_every = 2
checkpoint_every = 2
sample_every = 1_000
hooks.pictures.enabled = false
fit = { steps = 5, batch = 32, optimiser.default = { name = "adam", lr = 1e-2 } }
[data]
name = "digits"
size = 8
[[scores]]
name = "nearest_distance"
samples = 24
[[scores]]
name = "precision_recall"
extractor = "random"
samples = 24
[optimiser.default]
name = "adam"
lr = 1e-3
"""
    + aae()
    + """\
[change.learned.model]
prior = { name = "code_generator", noise = 3 }
improves.prior = true
[change.affine.model]
fitted_prior = { name = "affine" }
[change.one.run]
seeds = [0]
[[row]]
label = "gaussian"
changes = []
[[row]]
label = "learned"
changes = ["learned"]
[[row]]
label = "affine"
changes = ["affine"]
"""
)


@pytest.fixture(autouse=True)
def _registered():
    """The small fitted priors are installed."""
    genprior.register(Affine)
    genprior.register(Bag)
    yield
    installed.cache_clear()


@pytest.fixture
def recipe(tmp_path) -> Path:
    """A recipe of a fixed, a learned and a fitted prior."""
    path = tmp_path / "few.toml"
    path.write_text(RECIPE)
    return path
