"""The command `genprior explore`: what it refuses, and its port."""

from __future__ import annotations

import importlib.util
import socket

import pytest

import genprior
from genprior_explore.command import explore
from genprior_explore.serve import PORTS, free_socket


@pytest.fixture
def called(monkeypatch):
    """Call the command with some arguments; gradio looks installed."""
    from typer.testing import CliRunner

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: found("json") if name == "gradio" else found(name, *more)
    )
    return lambda *arguments: CliRunner().invoke(explore, [str(each) for each in arguments])


def test_a_missing_library_says_how_to_install_it(monkeypatch, call, trained) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "gradio" else found(name, *more)
    )
    from typer.testing import CliRunner

    result = CliRunner().invoke(explore, [str(trained / "plain" / "seed-0")])
    assert isinstance(result.exception, genprior.PlanError)
    assert 'pip install "genprior[explore]"' in str(result.exception)


def test_three_runs_are_refused(called, trained) -> None:
    result = called(*[trained / "plain" / "seed-0"] * 3)
    assert "one run or two side by side, and 3 were given" in str(result.exception)


def test_a_folder_that_is_no_run_is_told(called, trained) -> None:
    result = called(trained)
    assert isinstance(result.exception, genprior.RunError) and "is not a run folder" in str(result.exception)


def test_a_port_in_use_is_told_and_the_next_one_is_taken_without_a_wish() -> None:
    with free_socket(None) as first:
        taken = first.getsockname()[1]
        assert taken in PORTS and first.getsockname()[0] == "127.0.0.1"
        with pytest.raises(
            genprior.RunError, match=f"port {taken} cannot be used: Address already in use; give another"
        ):
            with free_socket(taken):
                pass
        with free_socket(None) as second:
            assert second.getsockname()[1] > taken


def test_a_port_that_others_hold_is_left_to_them() -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        with pytest.raises(genprior.RunError, match="cannot be used"), free_socket(other.getsockname()[1]):
            pass
