from __future__ import annotations

from pathlib import Path

import pytest

from ..small import aae

TINY = (
    """\
title = "Tiny [two rows]"
[run]
steps = 4
batch = 8
checkpoint_every = 2
sample_every = 1_000
log_every = 2
[data]
name = "digits"
size = 8
[optimiser.default]
name = "adam"
lr = 1e-3
"""
    + aae()
    + """\
[change.A.model]
prior = { name = "code_generator", noise = 4 }
improves.prior = true
[change.wide.model]
code_size = 6
[change.long.run]
steps = 400
checkpoint_every = 100
log_every = 100
[change.labels.model]
conditioner = { name = "label" }
[[row]]
label = "AAE"
changes = []
[[row]]
label = "[A]"
changes = ["A"]
"""
)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, call) -> Path:
    """The folder of a finished table; tests only read it."""
    home = tmp_path_factory.mktemp("trained")
    (home / "tiny.toml").write_text(TINY, encoding="utf-8")
    result = call("train", home / "tiny.toml", "--out", home / "table", "--jobs", 1)
    assert result.exit_code == 0, result.output
    return home / "table"
