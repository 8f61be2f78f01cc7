"""`--on NAME`: how a launcher is found and given its settings, and every mistake there is in it."""

from __future__ import annotations

import sys
import types
from importlib import metadata

import pytest

import genprior
from genprior.cli.launchers import launcher_of
from genprior.errors import LaunchError

from .launcher import Threads

MODULE = "launcher_of_tests"


@pytest.fixture
def offered(monkeypatch):
    """Launchers that are installed: threads, one that is no launcher, one that cannot be imported, and one twice."""
    module = types.ModuleType(MODULE)
    module.Threads, module.number = Threads, 3
    monkeypatch.setitem(sys.modules, MODULE, module)
    named = {"threads": "Threads", "number": "number", "absent": "Absent", "twice": "Threads"}
    entries = [metadata.EntryPoint(name, f"{MODULE}:{value}", "genprior.launchers") for name, value in named.items()]
    entries.append(entries[-1])
    find = metadata.entry_points
    monkeypatch.setattr(
        metadata,
        "entry_points",
        lambda **what: entries if what == {"group": "genprior.launchers"} else find(**what),
    )


@pytest.mark.usefixtures("offered", "no_curves")
@pytest.mark.parametrize("command", ["train", "priors"])
def test_rows_are_trained_by_the_launcher_that_is_named(command, call, tiny, tmp_path):
    scores = 'scores=[{ name = "code_mmd" }]'
    arguments = ("--rows", "AAE", "--set", scores, "--on", "threads={seconds=2}", "--out", tmp_path / "runs")
    result = call(command, tiny, *arguments)
    assert result.exit_code == 0, result.output
    assert genprior.load_run(tmp_path / "runs" / "AAE" / "seed-0").finished
    assert (tmp_path / "runs" / ("table.json" if command == "train" else "priors.json")).exists()


@pytest.mark.usefixtures("offered")
def test_settings_are_read_as_toml():
    assert launcher_of("threads").settings == Threads.Settings()
    assert launcher_of('threads={address="10.0.0.1", seconds=2}').settings.address == "10.0.0.1"
    assert launcher_of("threads.seconds=2").settings.seconds == 2.0


WRONG = {
    "unknown": (
        "thread",
        "--on thread: there is no launcher named 'thread'; did you mean 'threads'? Installed: absent, number, threads, "
        "twice. Install the package that has it: ray is in genprior-ray and slurm in genprior-slurm; from a clone "
        "of genprior, `pip install plugins/genprior_ray` or `pip install plugins/genprior_slurm`",
    ),
    "no table": (
        "threads=2",
        "--on threads=2: needs NAME or NAME={SETTING=VALUE, ...} with TOML values, such as ray or 'ray={gpus=0.5}' "
        "(strings need double quotes, so put single quotes around the whole)",
    ),
    "no TOML": ("threads={address=auto}", "--on threads={address=auto}: needs NAME or NAME={SETTING=VALUE, ...} with"),
    "setting": (
        "threads={adress='x'}",
        "--on threads={adress='x'}: launcher 'threads' has no setting 'adress'; did you mean 'address'? Possible: "
        "address, seconds",
    ),
    "value": (
        "threads={seconds='long'}",
        "settings of launcher 'threads': seconds: Input should be a valid number",
    ),
    "no launcher": ("number", "launcher 'number' of an unknown package is 3, which is not derived from"),
    "not there": ("absent", "launcher 'absent' of an unknown package cannot be loaded: AttributeError: "),
    "twice": ("twice", "launcher 'twice' is defined 2 times, so none of them is used: by an unknown package and by an"),
    "no answer": ('threads={address="far"}', "far does not answer; give the address of a scheduler"),
}


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_mistakes_end_with_a_message_and_write_nothing(text, message, call, tiny, tmp_path):
    result = call("train", tiny, "--on", text, "--out", tmp_path / "runs")
    assert result.exit_code == 2 and "Traceback" not in result.output
    assert message in " ".join(result.output.split())
    assert not (tmp_path / "runs").exists()


def test_without_any_launcher_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(metadata, "entry_points", lambda **_: [])
    with pytest.raises(
        LaunchError, match=r"no launcher named 'ray'\. Installed: none\. Install .* ray is in genprior-ray"
    ):
        launcher_of("ray")


@pytest.mark.usefixtures("offered")
def test_a_shell_completes_the_names():
    from genprior.cli.completion import launchers

    assert [word for word, _ in launchers(None, "t")] == ["threads", "twice"]
