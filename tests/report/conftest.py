"""Two rows of two seeds, trained once: a model that takes labels, and an autoencoder without them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import genprior

from ..small import aae

RECIPE = (
    """
title = "Two small models"
scores = [{ name = "classifier_score", samples = 100, splits = 2 }]
[run]
steps = 6
batch = 8
seeds = [0, 1]
log_every = 2
sample_every = 2
[data]
name = "digits"
size = 8
[optimiser.default]
lr = 1e-3
"""
    + aae(batch_norm=True)
    + """\
[change.labels.model]
conditioner = { name = "label" }
[[row]]
label = "plain"
changes = []
[[row]]
label = "labelled"
changes = ["labels"]
"""
)


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """The folder of the runs; tests that change files take `runs`."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "two.toml").write_text(RECIPE)
    genprior.train(genprior.load_recipe(folder / "two.toml"), out=folder / "two")
    return folder / "two"


@pytest.fixture
def runs(trained, tmp_path) -> Path:
    """A copy of the runs, to be spoiled."""
    return Path(shutil.copytree(trained, tmp_path / "two"))
