"""Runs to explore: a fixed and a learned prior, labels, and uniform codes."""

from __future__ import annotations

from pathlib import Path

import pytest

import genprior

from ..small import aae

RECIPE = (
    """
title = "Runs to explore"
[run]
steps = 4
batch = 8
sample_every = 100
[run.hooks.pictures]
enabled = false
[data]
name = "digits"
size = 8
[optimiser.default]
lr = 1e-3
"""
    + aae(batch_norm=True)
    + """\
[change.learned.model]
prior = { name = "code_generator", noise = 3 }
improves.prior = true
[change.labels.model]
conditioner = { name = "label" }
prior = { name = "categorical_gaussian" }
code_size = 14
[change.uniform.model]
prior = { name = "uniform" }
[[row]]
label = "plain"
changes = []
[[row]]
label = "learned"
changes = ["learned"]
[[row]]
label = "labelled"
changes = ["labels"]
[[row]]
label = "uniform"
changes = ["uniform"]
"""
)


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """The folder of the runs; tests change nothing in it."""
    folder = tmp_path_factory.mktemp("explore")
    (folder / "runs.toml").write_text(RECIPE)
    genprior.train(genprior.load_recipe(folder / "runs.toml"), out=folder / "runs")
    return folder / "runs"


@pytest.fixture
def explorer(trained):
    """The explorer of a row."""
    from genprior_explore.explorer import open_explorer

    return lambda row: open_explorer(trained / row / "seed-0")
