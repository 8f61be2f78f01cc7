"""The command `doctor`: prints what an installation has and what is wrong with it."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, cast

import typer
from rich.text import Text
from typer.core import TyperGroup

from genprior.cli.plugin_commands import disabled_commands
from genprior.errors import visible

__all__ = ["doctor"]


def doctor(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False
) -> None:
    """Say what this installation has, what is wrong with it, and what to do.

    Versions, devices and precision, plugins, extras, caches, data sets, recipes, the terminal, and free disk. The exit
    code is 1 if something is wrong, else 0; what is merely not installed is a note.
    """
    from genprior.cli.console import console, print_line
    from genprior.runs.findings import Finding, State, findings_of
    from genprior.runs.health import CHECKS as OF_PACKAGES
    from genprior.runs.health_of_files import CHECKS as OF_FILES

    def commands() -> Iterator[Finding]:
        group = cast(TyperGroup, ctx.find_root().command)
        for text in disabled_commands(group.commands):
            yield Finding("commands", "commands", text, State.WRONG, "uninstall or update the package")

    def terminal() -> Iterator[Finding]:
        encoding = sys.stdout.encoding or "ascii"
        text = f"{encoding}, {'a terminal' if sys.stdout.isatty() else 'no terminal'}"
        try:
            "─↑±".encode(encoding)
        except (LookupError, UnicodeError):
            text += "; lines and arrows of tables are replaced by ASCII"
            yield Finding("terminal", "encoding", text, State.NOTE, "set PYTHONUTF8=1, or LANG=C.UTF-8")
        else:
            yield Finding("terminal", "encoding", text)

    found = findings_of({**OF_PACKAGES, "commands": commands, **OF_FILES, "terminal": terminal})
    wrong = [each for each in found if each.state is State.WRONG]
    if as_json:
        typer.echo(json.dumps({"ok": not wrong, "findings": [each.as_json() for each in found]}, indent=2))
    else:
        out = console()
        for section, those in itertools.groupby(found, key=lambda each: each.section):
            out.print(Text(section, style="bold"))
            for line in _lines(list(those)):
                out.print(line, soft_wrap=True)
        count = f"{len(wrong)} thing is" if len(wrong) == 1 else f"{len(wrong)} things are"
        print_line(f"{count} wrong" if wrong else "all is well", style="red" if wrong else "green")
    if wrong:
        raise typer.Exit(1)


_STYLES = {"ok": "green", "note": "yellow", "wrong": "bold red"}


def _lines(found: Sequence[Any]) -> Iterator[Text]:
    """The findings of a section, a line each, and the advice below."""
    width = max(len(_in_a_line(each.name)) for each in found)
    for each in found:
        state = each.state.value
        name, text = _in_a_line(each.name), _in_a_line(each.text)
        yield Text.assemble(f"  {name:{width}}  ", (f"{state:5}", _STYLES[state]), f"  {text}")
        if each.advice:
            yield Text(f"  {'':{width}}         {each.advice}")


def _in_a_line(text: str) -> str:
    """The text without control characters and line breaks, which names of files may hold."""
    return visible(text).replace("\n", "\\n")
