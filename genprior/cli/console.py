"""Prints lines, tables, settings and errors, without markup, so that labels with brackets are printed unchanged."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.syntax import Syntax
from rich.text import Text

from genprior.errors import SystemFailure, visible

__all__ = [
    "console",
    "print_error",
    "print_line",
    "print_table",
    "print_toml",
    "print_written",
    "refuse_unread",
    "show_bench",
]


class _Harmless(Console):
    """Prints control characters of texts as their codes; only what rich makes itself, such as colours, is sent."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of `renderable`."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text), style, control)


def console(*, stderr: bool = False) -> Console:
    """A console without markup; 200 columns wide if the output is not a terminal, so that lines are not wrapped.

    FORCE_COLOR colours the output of pipes and logs, and does not make them terminals, on which bars move. A notebook
    is no terminal either, and shows what rich makes of it.
    """
    on_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    out = _Harmless(
        stderr=stderr,
        markup=False,
        highlight=False,
        emoji=False,
        force_terminal=None if on_terminal else False,
        color_system="256" if os.environ.get("FORCE_COLOR") and not on_terminal else "auto",
    )
    if not out.is_terminal and not out.is_jupyter and "COLUMNS" not in os.environ:
        out.width = 200
    return out


def print_line(text: str, *, stderr: bool = False, style: str | None = None) -> None:
    """Print a text unchanged and without wrapping."""
    console(stderr=stderr).print(Text(text, style=style or ""), soft_wrap=True)


def print_error(message: str) -> None:
    """Print `error: <message>` to stderr."""
    console(stderr=True).print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)


def print_toml(text: str, heading: str) -> None:
    """Print TOML under a comment line, highlighted on a terminal and as plain text otherwise."""
    out = console()
    document = f"# {heading}\n{text}"
    if out.is_terminal:
        out.print(Syntax(document, "toml", background_color="default", word_wrap=True))
    else:
        print_line(document)


def print_written(folder: Path, names: Sequence[str]) -> None:
    """Print the paths of the named files that exist."""
    for name in names:
        if (folder / name).exists():
            needs = r" (needs \usepackage{booktabs})" if name.endswith(".tex") else ""
            print_line(f"{folder / name}{needs}", style="cyan")


# ---------------------------------------------------------------------------------------------------------------------
# Tables
# ---------------------------------------------------------------------------------------------------------------------


def print_table(table: Any) -> None:
    """Print a `genprior.tables.table.Table` with its footnote and notes; best cells are bold."""
    from genprior.cli.table_screen import render_table

    out = console()
    out.print(render_table(table, out.encoding))


def refuse_unread(table: Any) -> None:
    """End the command if the operating system could not read runs of a table, which has been printed without them.

    Raises:
        SystemFailure: names them.
    """
    if table.unread:
        count = "1 run" if len(table.unread) == 1 else f"{len(table.unread)} runs"
        raise SystemFailure(
            f"the table lacks {count} that could not be read: {'; '.join(table.unread)}. "
            "Check the disk and the permissions, and give the same command again"
        )


def show_bench(bench: Any, seconds: float | None, write: Callable[[Any], None] | None) -> None:
    """Print the table of a `Bench` once, or update it every `seconds`; each table is also passed to `write`."""
    from genprior.cli.table_screen import watch

    def read() -> Any:
        benched = bench.table(watching=seconds is not None)
        if write is not None:
            write(benched.table)
        return benched

    if seconds is not None:
        watch(read, seconds, console())
    else:
        table = read().table
        print_table(table)
        refuse_unread(table)
