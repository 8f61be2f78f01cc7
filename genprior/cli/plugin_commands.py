"""The command group: built-in commands and commands of plugins.

A plugin adds a command by an entry point of the group `genprior.commands`; its name is the subcommand, its object a
`typer.Typer` or a click command::

    [project.entry-points."genprior.commands"]
    embed = "genprior_text.cli:app"

`--help` lists such commands from the metadata of the installed packages. A command is loaded when it is called, and
receives all arguments after its name, including `--help`. A name that is already used disables that command alone.
"""

from __future__ import annotations

import contextlib
import functools
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from typing import Any, NamedTuple, NoReturn

import typer
from typer.core import TyperGroup

from genprior.cli.completion import completing, silent
from genprior.cli.part_names import keep_part_names, part_names, want_part_names
from genprior.cli.tracebacks import OPTION, print_traceback, showing
from genprior.errors import (
    GenpriorError,
    GenpriorWarning,
    NameTaken,
    PartFailed,
    PlanError,
    PluginError,
    system_error,
    visible,
)
from genprior.loading import load_named, package_of, raised

__all__ = ["COMMANDS", "Commands", "disabled_commands"]

COMMANDS = "genprior.commands"
"""The entry-point group of plugins' subcommands."""
_MAY_BE_EMPTY = "--text"
"""An option whose value may be empty: a sentence."""


class Commands(TyperGroup):
    """The built-in commands and those of plugins; prints the errors of all of them."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line.

        A `GenpriorError` ends it with a message and the error's exit code, and an error of the operating system with a
        message and the exit code 1. A `GenpriorWarning` is printed as `warning: <message>`.
        """
        if completing():
            with silent():
                want_part_names()
                return super().main(*args, **kwargs)
        with warnings.catch_warnings():
            warnings.simplefilter("default", GenpriorWarning)
            warnings.showwarning = _show_warning(warnings.showwarning)
            try:
                return super().main(*args, **kwargs)
            except GenpriorError as error:
                _end(error)
            except OSError as error:
                if error.errno is None:
                    raise
                _end(system_error(error))

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Read the options of the program; `--traceback` may also stand among the options of a built-in command.

        Raises:
            PlanError: an argument of a built-in command is empty.
        """
        if args[:1] == ["--install-completion"] or (args[:1] == ["--show-completion"] and not part_names()):
            keep_part_names(first=True)
        command = next((each for each in args if not each.startswith("-")), None)
        before = args[: args.index("--")] if "--" in args else args
        if command in self.commands:
            _refuse_empty(args)
        if command in self.commands and OPTION in before:
            args = [OPTION, *(each for each in before if each != OPTION), *args[len(before) :]]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command; Ctrl-C outside of training ends it with a message."""
        with showing(bool(ctx.params.get("traceback"))):
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:
                with contextlib.suppress(OSError):
                    typer.echo("\ninterrupted", err=True)
                sys.exit(130)
            except GenpriorError as error:
                _end(error)
            except Exception as error:
                failed = _of_a_part(error)
                if failed is None:
                    raise
                failed.__cause__ = error
                _end(failed)
            finally:
                keep_part_names()

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of all commands: the built-in ones, then those of plugins."""
        own = list(self.commands)
        return [*own, *sorted(_plugin_commands(frozenset(own)).loadable)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name; a command of a plugin is not imported yet.

        Raises:
            NameTaken: several plugins have a command of this name, and genprior has none.
        """
        found = _plugin_commands(frozenset(self.commands))
        if cmd_name in found.disabled and cmd_name not in self.commands:
            raise NameTaken(found.disabled[cmd_name])
        return (
            _of_plugin(found.loadable[cmd_name]) if cmd_name in found.loadable else super().get_command(ctx, cmd_name)
        )

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The help, and after it the commands of plugins that are disabled."""
        super().format_help(ctx, formatter)
        for text in disabled_commands(self.commands):
            typer.echo(f"not available: {visible(text)}")


def _refuse_empty(args: Sequence[str]) -> None:
    """Refuse empty arguments, which are of variables that are not set: as a path, one would be the current folder.

    Raises:
        PlanError: an argument or the value of an option is empty.
    """
    for before, each in zip(("", *args), args, strict=False):
        named = re.fullmatch("(--[a-z-]+)=", each)
        option = named[1] if named else before if each == "" and before.startswith("-") else ""
        if each not in ("", f"{option}=") or option == _MAY_BE_EMPTY:
            continue
        what = f"the value of {option} is empty" if option else "an argument is empty"
        raise PlanError(
            f"{what}, as of a variable that is not set; give one{', or leave the option out' if option else ''}. "
            "The current folder is ."
        )


class _Found(NamedTuple):
    """The commands of plugins."""

    loadable: dict[str, metadata.EntryPoint]
    disabled: dict[str, str]
    """What is wrong with each name that is used twice."""


def disabled_commands(own: Iterable[str]) -> list[str]:
    """What is wrong with each command of a plugin that cannot be called by its name.

    Args:
        own: the names of the built-in commands.
    """
    return list(_plugin_commands(frozenset(own)).disabled.values())


@functools.cache
def _plugin_commands(own: frozenset[str]) -> _Found:
    offered: dict[str, list[metadata.EntryPoint]] = {}
    for entry in metadata.entry_points(group=COMMANDS):
        offered.setdefault(entry.name, []).append(entry)
    disabled: dict[str, str] = {}
    for name, entries in offered.items():
        packages = " and by ".join(map(package_of, entries))
        if name in own:
            disabled[name] = (
                f"the command '{name}' of {packages.replace(' and by ', ' and of ')} has the name of a command of "
                "genprior itself, which is used. Rename the command in its package, or uninstall the package."
            )
        elif len(entries) > 1:
            disabled[name] = (
                f"the command '{name}' is defined {len(entries)} times, so none of them is used: by {packages}. "
                "Uninstall all but one of the packages, or rename the command in one of them."
            )
    return _Found({name: entries[0] for name, entries in offered.items() if name not in disabled}, disabled)


def _of_plugin(entry: metadata.EntryPoint) -> Any:
    """A command that passes its arguments unchanged to the command of the plugin."""
    wrapper = typer.Typer(add_completion=False)

    @wrapper.command(
        entry.name,
        help=f"A command of {package_of(entry)}.",
        context_settings={
            "allow_extra_args": True,
            "ignore_unknown_options": True,
            "allow_interspersed_args": False,
            "help_option_names": [],
        },
    )
    def run(ctx: typer.Context) -> None:
        named = f"the command '{entry.name}' of {package_of(entry)}"
        loaded = load_named(entry, named)
        command: Any = typer.main.get_command(loaded) if isinstance(loaded, typer.Typer) else loaded
        if not callable(getattr(command, "main", None)):
            raise PluginError(
                f"{named} is {loaded!r}, which is no command: its entry point must name a typer.Typer or a click "
                "command. Update or uninstall that package."
            )
        try:
            command.main(args=ctx.args, prog_name=ctx.command_path)
        except GenpriorError:
            raise
        except Exception as error:
            if _of_a_part(error) is not None:
                raise
            raise PartFailed(f"{named} {raised(error)}, at {_place(error)}") from error

    return typer.main.get_command(wrapper)


def _show_warning(otherwise: Callable[..., None]) -> Callable[..., None]:
    """A `warnings.showwarning` that prints a `GenpriorWarning` without the line of code that it comes from."""

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, GenpriorWarning):
            typer.echo(f"warning: {message}", err=True)
        else:
            otherwise(message, category, *place, **more)

    return show


def _place(error: Exception) -> str:
    """The last line of an exception's traceback, `file:line`."""
    import traceback

    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    return f"{frame.f_code.co_filename}:{line}"


def _of_a_part(error: Exception) -> PartFailed | None:
    """The error that names the part which raised `error`; None if no part did."""
    # Without the registry no part has been loaded.
    if "genprior.registry" not in sys.modules:
        return None
    from genprior.runs.part_errors import part_failed

    return part_failed(error)


def _end(error: GenpriorError) -> NoReturn:
    """Print an error, and its traceback if that was asked for, and end the process with its exit code."""
    from genprior.cli.console import print_error

    with contextlib.suppress(OSError):  # a log on a full disk takes no message; the exit code still tells
        print_error(str(error))
        print_traceback(error)
    sys.exit(error.exit_code)
