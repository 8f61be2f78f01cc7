"""Runs to explore: a fixed and a learned prior, labels, and uniform codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
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


@pytest.fixture(scope="session")
def address(trained, tmp_path_factory) -> Iterator[str]:
    """The page of two runs, served by the command in a process of its own; needs gradio."""
    temporary = tmp_path_factory.mktemp("temporary")
    code = "from genprior_explore.command import explore; explore()"
    runs = [str(trained / row / "seed-0") for row in ("plain", "labelled")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(temporary)}
    command = [sys.executable, "-c", code, *runs, "--no-open"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        told = server.stdout.readline()
        assert told.endswith(" shows plain, seed 0 and labelled, seed 0; Ctrl-C ends it\n"), told
        yield told.partition(" ")[0]
        server.send_signal(signal.SIGINT)
        errors = server.communicate(timeout=60)[1]
    assert errors == ""
    assert [*temporary.rglob("*.png")] == [], "pictures are left"
