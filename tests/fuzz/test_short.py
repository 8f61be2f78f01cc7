"""A few inputs of each target in every test run; `make fuzz` gives many more."""

from __future__ import annotations

import hashlib
import shutil
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .guard import guarded, outcome
from .targets import TARGETS, Workbench

CORPUS = Path(__file__).parent / "corpus"
EXAMPLES = {"recipe": 12, "setting": 40, "record": 20, "checkpoint": 25, "embedder": 12, "sentence": 12}
"""How many inputs each target gets; slow ones get fewer."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Small runs from which inputs are drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENPRIOR_DATA", str(tmp_path_factory.mktemp("cache")))
        yield Workbench(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with a folder for an input, which is made anew for each, and one for the cache."""
    monkeypatch.setenv("GENPRIOR_DATA", str(tmp_path / "cache"))
    return tmp_path / "work"


def give(name, content, work, bench):
    """What an input ends in, see `outcome`."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    return outcome(lambda: TARGETS[name].run(content, work, bench), work.parent, bench.folder)


@pytest.mark.parametrize("name", TARGETS)
def test_random_inputs_are_refused_in_words_or_taken(name, work, bench):
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]

    @settings(
        max_examples=EXAMPLES.get(name, 40),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=checks,
    )
    @given(st.randoms(use_true_random=False))
    def some(random):
        # Any other exception, a hang, or a file outside the folder raises in `outcome`.
        assert give(name, TARGETS[name].draw(random, bench), work, bench).strip()

    some()


def found():
    """The inputs that were found, each with its target and what is right."""
    for target, files in tomllib.loads((CORPUS / "right.toml").read_text(encoding="utf-8")).items():
        for name, right in files.items():
            yield pytest.param(target, CORPUS / name, right, id=name)


@pytest.mark.parametrize(("target", "path", "right"), list(found()))
def test_what_was_found_stays_mended(target, path, right, work, bench):
    told = give(target, path.read_bytes(), work, bench)
    assert right in told.replace(str(work), "WORK"), told


def test_the_corpus_is_small_and_every_input_says_what_is_right():
    listed = {parameter.values[1] for parameter in found()}
    assert listed == {path for path in CORPUS.iterdir() if path.name != "right.toml"}
    assert sum(path.stat().st_size for path in listed) < 400_000


def test_the_guard_notices_what_is_written_outside(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(AssertionError, match="outside of its folder.*open .*out.txt"), guarded(tmp_path / "in"):
        (tmp_path / "out.txt").write_text("a")
    with guarded(tmp_path / "in"):
        (tmp_path / "in" / "a.txt").write_text("a")
        hashlib.sha256((tmp_path / "out.txt").read_bytes())


def test_the_guard_ends_what_hangs(tmp_path):
    def hang():
        while True:
            pass

    with pytest.raises(BaseException, match="no end after 0 s"):
        outcome(hang, tmp_path, seconds=0.1)
