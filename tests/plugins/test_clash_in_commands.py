"""Two plugins with one part: the part alone is disabled, and every command that needs it says why."""

from __future__ import annotations

import sys

import pytest

from genprior.registry import GROUP, installed

SOURCE = """
from genprior import hookimpl
from genprior_std.exporters.grid import Grid
from genprior_std.priors.gaussian import Gaussian

class Ball(Gaussian):
    name = "ball"

class Sheet(Grid):
    name = "sheet"
    suffixes = (".sheet",)

@hookimpl
def genprior_parts(register):
    register(Ball)
    register(Sheet)
"""
BOTH = "by plugin 'clash_a' (clash-a 1.0) and by plugin 'clash_b' (clash-b 1.0)"


@pytest.fixture
def two(tmp_path, monkeypatch):
    site = tmp_path / "site"
    for name in ("clash_a", "clash_b"):
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"fake_{name}.py").write_text(SOURCE)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = fake_{name}\n")
    monkeypatch.syspath_prepend(site)
    installed.cache_clear()
    yield
    for name in ("fake_clash_a", "fake_clash_b"):
        sys.modules.pop(name, None)
    installed.cache_clear()


def test_parts_lists_the_others_and_names_both_plugins(two, call):
    result = call("parts", "prior")
    assert result.exit_code == 0 and "gaussian" in result.stdout
    assert (
        f"not usable: prior 'ball' is registered by several plugins, so none of them is used: {BOTH}" in result.stdout
    )


def test_recipes_that_do_not_use_it_are_checked_and_one_that_does_says_why(two, tiny, call):
    assert call("check", tiny).exit_code == 0
    result = call("check", tiny, "--set", 'model.prior={name="ball"}')
    assert result.exit_code == 2
    assert f"prior 'ball' is registered by several plugins, so none of them is used: {BOTH}" in result.stderr


def test_an_exporter(two, tiny, call, tmp_path):
    result = call("parts", "exporter", "sheet")
    assert result.exit_code == 2
    assert f"exporter 'sheet' is registered by several plugins, so none of them is used: {BOTH}" in result.stderr
