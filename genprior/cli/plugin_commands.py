"""The command group: built-in commands and commands of plugins.

A plugin adds a command by an entry point of the group `genprior.commands`; its name is the subcommand, its object a
`typer.Typer` or a click command::

    [project.entry-points."genprior.commands"]
    embed = "genprior_text.cli:app"

`--help` lists such commands from the metadata of the installed packages. A command is loaded when it is called, and
receives all arguments after its name, including `--help`.
"""

from __future__ import annotations

import functools
import sys
from importlib import metadata
from typing import Any

import typer
from typer.core import TyperGroup

from genprior.errors import GenpriorError, NameTaken, PluginError

__all__ = ["COMMANDS", "Commands"]

COMMANDS = "genprior.commands"
"""The entry-point group of plugins' subcommands."""


class Commands(TyperGroup):
    """The built-in commands and those of plugins; prints the errors of all of them."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line; a `GenpriorError` ends it with a message and the error's exit code."""
        try:
            return super().main(*args, **kwargs)
        except GenpriorError as error:
            _print_error(error)
            sys.exit(error.exit_code)

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command; Ctrl-C outside of training ends it with a message."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("\ninterrupted", err=True)
            sys.exit(130)

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of all commands: the built-in ones, then those of plugins."""
        own = list(self.commands)
        return [*own, *sorted(_plugin_commands(frozenset(own)))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name; a command of a plugin is not imported yet."""
        entry = _plugin_commands(frozenset(self.commands)).get(cmd_name)
        return _of_plugin(entry) if entry is not None else super().get_command(ctx, cmd_name)


@functools.cache
def _plugin_commands(own: frozenset[str]) -> dict[str, metadata.EntryPoint]:
    found: dict[str, metadata.EntryPoint] = {}
    for entry in metadata.entry_points(group=COMMANDS):
        if entry.name in own or entry.name in found:
            other = _from(found[entry.name]) if entry.name in found else "genprior itself"
            raise NameTaken(
                f"the command '{entry.name}' is defined twice: by {other} and by {_from(entry)}. "
                "Uninstall one of the two packages, or rename the command in one of them."
            )
        found[entry.name] = entry
    return found


def _from(entry: metadata.EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "an unknown package"


def _of_plugin(entry: metadata.EntryPoint) -> Any:
    """A command that passes its arguments unchanged to the command of the plugin."""
    wrapper = typer.Typer(add_completion=False)

    @wrapper.command(
        entry.name,
        help=f"A command of {_from(entry)}.",
        context_settings={
            "allow_extra_args": True,
            "ignore_unknown_options": True,
            "allow_interspersed_args": False,
            "help_option_names": [],
        },
    )
    def run(ctx: typer.Context) -> None:
        try:
            loaded = entry.load()
        except Exception as error:  # a plugin may raise any exception
            raise PluginError(
                f"the command '{entry.name}' of {_from(entry)} cannot be loaded: {type(error).__name__}: {error}. "
                "Update or uninstall that package."
            ) from error
        command: Any = typer.main.get_command(loaded) if isinstance(loaded, typer.Typer) else loaded
        command.main(args=ctx.args, prog_name=ctx.command_path)

    return typer.main.get_command(wrapper)


def _print_error(error: GenpriorError) -> None:
    from genprior.cli.console import print_error

    print_error(str(error))
