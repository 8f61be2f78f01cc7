from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import types

import pytest
import typer

from genprior.cli import plugin_commands as cli
from genprior.errors import GenpriorError, NotFinite


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "COLUMNS": "100"}, check=False
    )


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_no_torch_and_no_plugin(option):
    done = python(
        "import sys\nfrom genprior.cli.app import app\n"
        f"try:\n    app([{option!r}], prog_name='genprior')\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'torch', 'pydantic', 'numpy', 'genprior_std', 'rich.progress'} & sys.modules.keys()\n"
        "print('heavy:', sorted(heavy))"
    )
    assert done.stdout.endswith("heavy: []\n"), done.stdout + done.stderr
    assert "genprior" in done.stdout


def test_version_is_the_packages(call):
    assert call("--version").stdout == f"genprior {importlib.metadata.version('genprior')}\n"


def test_every_command_is_in_the_help(call):
    shown = call("--help").stdout
    for name in ("train", "check", "bench", "sample", "figure", "show", "parts", "schema"):
        assert f" {name} " in shown
        assert call(name, "--help").exit_code == 0


def test_usage_errors_exit_2(call):
    assert call("train").exit_code == 2
    assert call("trian").exit_code == 2
    assert call("train", "x.toml", "--jobs", "0").exit_code == 2
    assert call("train", "x.toml", "--device", "tpu").exit_code == 2


@pytest.mark.parametrize(("error", "code"), [(GenpriorError("a [row A] [/b]"), 2), (NotFinite("a [row A] [/b]"), 1)])
def test_an_error_is_one_line_and_an_exit_code(call, monkeypatch, error, code):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("genprior.recipe.load.load_recipe", fail)
    result = call("check", "x.toml")
    assert (result.exit_code, result.stderr, result.stdout) == (code, "error: a [row A] [/b]\n", "")


def test_any_other_exception_keeps_its_traceback(call, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("genprior.recipe.load.load_recipe", fail)
    result = call("check", "x.toml")
    assert result.exit_code == 1 and isinstance(result.exception, ZeroDivisionError)


def test_ctrl_c_outside_of_training_exits_130(call, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("genprior.recipe.load.load_recipe", interrupted)
    result = call("check", "x.toml")
    assert (result.exit_code, result.stderr) == (130, "\ninterrupted\n")


def test_a_missing_recipe_is_a_users_mistake(call, tmp_path):
    result = call("check", tmp_path / "none.toml")
    assert result.exit_code == 2
    assert result.stderr == f"error: there is no recipe file {tmp_path / 'none.toml'}. There are no recipes there\n"


# ---------------------------------------------------------------------------------------------------------------------
# Commands of plugins
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def plugin_commands(monkeypatch):
    """Offer commands as an installed package would."""
    click = pytest.importorskip("click")  # typer may bring a copy of its own
    made = typer.Typer()

    @made.command()
    def embed(text: str, times: int = 1) -> None:
        print(f"typer {text * times}")

    @click.command()
    @click.argument("text")
    @click.option("--loud", is_flag=True)
    def count(text: str, loud: bool) -> None:
        click.echo(f"click {text.upper() if loud else text}")

    @click.command()
    def broken() -> None:
        raise GenpriorError("the plugin's own [message]")

    module = types.ModuleType("probe_commands")
    module.embed, module.count, module.broken = made, count, broken
    monkeypatch.setitem(sys.modules, "probe_commands", module)
    offered = [
        importlib.metadata.EntryPoint(name, f"{where}:{name}", cli.COMMANDS)
        for name, where in [("embed", "probe_commands"), ("count", "probe_commands"), ("broken", "probe_commands")]
    ] + [importlib.metadata.EntryPoint("absent", "no_such_module_at_all:app", cli.COMMANDS)]

    def entry_points(*, group: str) -> list[importlib.metadata.EntryPoint]:
        return offered if group == cli.COMMANDS else []

    monkeypatch.setattr(cli.metadata, "entry_points", entry_points)
    cli._plugin_commands.cache_clear()
    yield offered
    cli._plugin_commands.cache_clear()


def test_help_lists_plugin_commands_without_importing_them(plugin_commands, call):
    shown = call("--help").stdout
    assert " embed " in shown and " absent " in shown  # a module that does not exist was not asked for


def test_plugin_commands_get_their_arguments_untouched(plugin_commands, call, capfd):
    assert call("embed", "ab", "--times", "2").stdout == "typer abab\n"
    assert call("count", "--loud", "ab").stdout == "click AB\n"
    helped = call("count", "--help").stdout
    assert "genprior count [OPTIONS] TEXT" in helped or "count [OPTIONS] TEXT" in helped


def test_errors_of_plugin_commands_are_printed_like_ours(plugin_commands, call):
    own = call("broken")
    assert (own.exit_code, own.stderr) == (2, "error: the plugin's own [message]\n")
    absent = call("absent")
    assert (absent.exit_code, absent.stderr) == (
        2,
        "error: the command 'absent' of an unknown package cannot be loaded: ModuleNotFoundError: "
        "No module named 'no_such_module_at_all'. Update or uninstall that package.\n",
    )


def test_a_plugin_command_with_the_name_of_ours_is_disabled_alone(plugin_commands, call, trained):
    plugin_commands.append(importlib.metadata.EntryPoint("show", "probe_commands:embed", cli.COMMANDS))
    told = (
        "not available: the command 'show' of an unknown package has the name of a command of genprior itself, which "
        "is used. Rename the command in its package, or uninstall the package.\n"
    )
    for arguments in (["--help"], ["parts"]):
        result = call(*arguments)
        assert result.exit_code == 0 and told in result.stdout
    assert told not in call("parts", "prior").stdout
    assert call("show", trained).exit_code == 0
    assert call("embed", "ab").stdout == "typer ab\n"


def test_two_plugin_commands_of_one_name_are_both_disabled(plugin_commands, call):
    plugin_commands.append(importlib.metadata.EntryPoint("embed", "probe_commands:count", cli.COMMANDS))
    told = (
        "the command 'embed' is defined 2 times, so none of them is used: by an unknown package and by an unknown "
        "package. Uninstall all but one of the packages, or rename the command in one of them.\n"
    )
    shown = call("--help")
    assert shown.exit_code == 0 and f"not available: {told}" in shown.stdout and " embed " not in shown.stdout
    used = call("embed", "ab")
    assert (used.exit_code, used.stderr) == (2, f"error: {told}")
    assert call("count", "ab").stdout == "click ab\n"


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("leaves", "cannot be loaded: it called sys.exit(0). Update or uninstall that package.\n"),
        ("nothing", "is 3, which is no command: its entry point must name a typer.Typer or a click command. Update or "
         "uninstall that package.\n"),
    ],
)  # fmt: skip
def test_a_plugin_command_that_cannot_be_loaded(plugin_commands, call, monkeypatch, tmp_path, command, error):
    (tmp_path / "probe_leaves.py").write_text("print('noise')\nimport sys\nsys.exit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys.modules["probe_commands"], "nothing", 3, raising=False)
    places = {"leaves": "probe_leaves:app", "nothing": "probe_commands:nothing"}
    plugin_commands.append(importlib.metadata.EntryPoint(command, places[command], cli.COMMANDS))
    result = call(command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.endswith(f"error: the command '{command}' of an unknown package {error}")


def test_a_plugin_command_that_raises_is_told_in_a_line(plugin_commands, call, monkeypatch, tmp_path):
    (tmp_path / "probe_raises.py").write_text(
        "import typer\napp = typer.Typer()\n@app.command()\ndef raises():\n    raise ValueError('no model')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    plugin_commands.append(importlib.metadata.EntryPoint("raises", "probe_raises:app", cli.COMMANDS))
    result = call("raises")
    assert (result.exit_code, result.stderr) == (
        1,
        "error: the command 'raises' of an unknown package raised ValueError: no model, at "
        f"{tmp_path / 'probe_raises.py'}:5\n--traceback shows the traceback\n",
    )
    assert "Traceback (most recent" in call("--traceback", "raises").stderr
