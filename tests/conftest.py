"""Fixtures of all tests: one thread, no accidental double precision, a separate cache for each test."""

from __future__ import annotations

import os
import signal
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
# A report takes longer than a few small steps; tests/report/ has the tests of it.
os.environ.setdefault("GENPRIOR_REPORT", "off")

import hypothesis
import pytest
import torch
from typer.testing import CliRunner, Result

import genprior
from genprior.cli.app import app
from genprior.registry import installed

from .deadline import pytest_collection_modifyitems, pytest_runtest_setup  # noqa: F401 - hooks
from .small import aae

ROOT = Path(__file__).resolve().parent.parent

TINY = (
    """
title = "tiny"
[run]
steps = 6
batch = 8
checkpoint_every = 3
log_every = 2
sample_every = 100
[data]
name = "digits"
size = 8
[optimiser.default]
lr = 1e-3
"""
    + aae(batch_norm=True)
    + """\
[change.A.model]
prior = { name = "code_generator", noise = 3 }
improves.prior = true
[change.B.model]
reconstruction = { name = "learned_similarity", layer = "hidden1" }
[change.C.model]
improves.decoder = true
[[row]]
label = "AAE"
changes = []
[[row]]
label = "A+B+C"
changes = ["A", "B", "C"]
"""
)


# The same examples in every run, and no time limit on machines that do other work; `make fuzz` draws anew.
hypothesis.settings.register_profile("steady", derandomize="MINUTES" not in os.environ, deadline=None)
hypothesis.settings.load_profile("steady")

# A shell without job control lets what it starts in the background ignore Ctrl-C, and nohup lets it ignore the end of a
# terminal. genprior and the commands that tests start respect that, and the tests of signals would wait for ever.
for _signal in (getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)):
    if signal.getsignal(_signal) is signal.SIG_IGN:
        signal.signal(_signal, signal.default_int_handler if _signal is signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _steady():
    """One thread for every test; the generators are restored after it."""
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def clean_session():
    """The registry of this process; parts that the test registers are gone after it."""
    registry = installed()
    kept = dict(registry._parts), dict(registry._origins), list(registry.plugins)
    yield registry
    registry._parts, registry._origins, registry.plugins = kept


@pytest.fixture
def no_curves(monkeypatch):
    """Runs end without the picture of their curves, which takes ten times as long as a few small steps."""
    monkeypatch.setattr("genprior_std.hooks.pictures.draw_curves", lambda metrics, path: None)


@pytest.fixture
def tiny(tmp_path) -> Path:
    """A recipe of two rows that trains in a second."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def tiny_plan(tiny):
    """The resolved A+B+C row of the tiny recipe, with what is given set."""

    def plan(label="A+B+C", *settings):
        return genprior.load_recipe(tiny, settings=settings).row(label)

    return plan


@pytest.fixture(scope="session")
def call():
    """The command line, in this process: `call("train", path, "--jobs", 1)` gives its exit code and its output."""

    def called(*arguments: object) -> Result:
        # Under pytest-xdist COLUMNS is 80, and narrow tables break names over lines.
        wide = {"COLUMNS": str(max(200, int(os.environ.get("COLUMNS") or 0)))}
        return CliRunner().invoke(app, [str(each) for each in arguments], env=wide, catch_exceptions=True)

    return called
