"""Runs of trackio, read by trackio from its local database."""

from __future__ import annotations

import sys

import pytest

import genprior
from genprior.testing import check_hook
from genprior_std.hooks.trackio import Trackio

pytest.importorskip("trackio", reason="needs the extra `trackio`")


@pytest.fixture(scope="module", autouse=True)
def _database(tmp_path_factory):
    """The library reads the folder of its database once, when it is imported."""
    folder = tmp_path_factory.mktemp("trackio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACKIO_DIR", str(folder))
        for name in [name for name in sys.modules if name.partition(".")[0] == "trackio"]:
            patch.delitem(sys.modules, name)
        yield folder


def test_an_interrupted_run_is_one_run_with_each_step_once(interrupted, _database) -> None:
    run = interrupted("trackio", 'project="digits"')
    from trackio.sqlite_storage import SQLiteStorage

    (name,) = SQLiteStorage.get_runs("digits")
    assert name.startswith("AAE seed 0 ")
    numbers, grids = {}, []
    for line in SQLiteStorage.get_logs("digits", name):
        step = line["step"]
        if "samples" in line:
            grids.append(step)
            continue
        for key, value in line.items():
            if key not in ("step", "seconds", "timestamp"):
                numbers.setdefault(key, []).append((step, value))
    assert numbers == {key: [(s, pytest.approx(v, rel=1e-12)) for s, v in row] for key, row in run.numbers.items()}
    assert grids == [3, 6]
    config = SQLiteStorage.get_run_config("digits", name)
    assert config["tags"] == {"recipe": "tiny", "row": "AAE", "seed": "0"}
    assert config["model"]["prior"]["name"] == "gaussian"
    assert list(_database.rglob("*.png"))


def test_a_stored_token_asks_nobody(tracked, monkeypatch) -> None:
    """Without a space, not even the name that belongs to a stored token is asked for."""
    monkeypatch.setenv("HF_TOKEN", "hf_" + "a" * 34)

    def asked(*arguments, **others):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("huggingface_hub.whoami", asked)
    trainer = tracked("trackio")
    assert "hook_failures" not in (trainer.folder / "run.json").read_text()


def test_a_version_without_the_function_that_asks_is_a_warning(tracked, monkeypatch) -> None:
    """A stored token would be sent if the run went on."""
    monkeypatch.delattr("trackio.run._get_default_namespace")
    monkeypatch.setattr("trackio.init", lambda **settings: pytest.fail("the run was opened"))
    with pytest.warns(genprior.GenpriorWarning, match="_get_default_namespace"):
        trainer = tracked("trackio")
    assert trainer.step == 6


def test_nothing_is_printed_at_the_end_of_the_process(tracked, capsys) -> None:
    """`genprior priors --json` prints JSON alone, after its runs as well."""
    tracked("trackio")
    import trackio

    trackio._cleanup_current_run()  # what the library does at exit
    assert capsys.readouterr().out == ""


def test_the_contract_of_hooks() -> None:
    check_hook(Trackio.Config(samples=4))
