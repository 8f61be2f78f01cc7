"""Two tiny runs, and figures made of them by the command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..small import aae

RECIPE = (
    """\
title = "Tiny"
[run]
steps = 2
batch = 16
checkpoint_every = 2
log_every = 2
seeds = [0, 1]
[run.hooks.pictures]
enabled = false
[data]
name = "digits"
size = 8
[optimiser.default]
lr = 1e-3
"""
    + aae(code_size=13, prior='{ name = "categorical_gaussian" }').replace(
        '{ name = "none" }', '{ name = "infogan", supervised = true }'
    )
    + """\
[change.learned.model]
prior = { name = "code_generator", noise = 3 }
improves.prior = true
[change.quick.model]
rec_weight = 2.0
[change.long.run]
steps = 4
[[row]]
label = "fixed prior"
changes = []
[[row]]
label = "learned prior"
changes = ["learned"]
"""
)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory, call) -> Path:
    """A folder with `runs/fig10_supervised-quick`, of seeds 0 and 1; tests only read it."""
    home = tmp_path_factory.mktemp("home")
    (home / "recipes").mkdir()
    (home / "recipes" / "fig10_supervised.toml").write_text(RECIPE, encoding="utf-8")
    before = Path.cwd()
    os.chdir(home)
    try:
        result = call("train", "recipes/fig10_supervised.toml", "--with", "quick", "--jobs", 1)
    finally:
        os.chdir(before)
    assert result.exit_code == 0, result.output
    return home


@pytest.fixture
def table(home: Path) -> Path:
    """The folder of the runs."""
    return home / "runs" / "fig10_supervised-quick"


@pytest.fixture
def inside(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own current folder, with the runs below `runs`."""
    (tmp_path / "runs").symlink_to(home / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path
