"""Shows a table on the screen: once, or updated while runs train."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table as Grid
from rich.text import Text

from genprior.cli.encoding import encodable
from genprior.errors import RunError
from genprior.tables.table import REAL, Table, is_bold

if TYPE_CHECKING:
    from genprior.bench.bench import Benched

__all__ = ["PATIENCE", "render_table", "watch"]

PATIENCE = 60.0
"""Seconds after which runs that no process trains are given up: a training reads data between two rows."""


def render_table(table: Table, encoding: str = "utf-8") -> Group:
    """The table with its footnotes, protocols and notes, for the console; the best cells are bold.

    Args:
        table: the table.
        encoding: of the output; characters that it lacks are replaced before the widths of columns are computed.
    """

    def text_of(text: str, style: str = "") -> Text:
        return Text(encodable(text, encoding), style=style)

    header, lines, marks = table.layout()
    grid = Grid(title=text_of(table.title), title_justify="left", title_style="bold")
    for place, text in enumerate(header):
        grid.add_column(text_of(text), justify="right" if place else "left", overflow="fold")
    for line in lines:
        real = line[0] == REAL and line is lines[-1]
        label, *cells = (encodable(text, encoding) for text in line)
        grid.add_row(
            Text(label),
            *(_cell(text, bold=is_bold(cell)) for text, cell in zip(cells, line[1:], strict=True)),
            style="dim" if real else None,
        )
    grids = [grid]
    if differences := table.lines_of_differences():
        grids.append(Grid())
        for place, text in enumerate(differences[0]):
            grids[1].add_column(text_of(text), justify="right" if place else "left", overflow="fold")
        for line in differences[1:]:
            grids[1].add_row(*map(text_of, line))
    below = [text_of(table.footnote(), style="dim")]
    below += [text_of(text, style="dim") for text in table.numbered(marks)]
    below += [text_of(f"Protocol of {text}", style="dim") for text in table.short_protocol()]
    below += [text_of(f"Note: {note}", style="yellow") for note in table.notes]
    return Group(*grids, *below)


def _cell(text: str, *, bold: bool) -> Text:
    return Text(text[2:-2], style="bold green") if bold else Text(text)


def watch(read: Callable[[], Benched], seconds: float, out: Console) -> None:
    """Show the table and update it on changes, until all its runs are finished or the user presses Ctrl-C.

    A terminal updates the table in place; otherwise each changed table is printed. Where runs were begun and none is
    trained for a minute, watching ends: their process has ended.

    Args:
        read: reads the runs and builds the table.
        seconds: the time between two reads.
        out: the console to print to.

    Raises:
        RunError: no process trains the unfinished runs.
    """
    last: Benched | None = None
    abandoned_for = 0.0
    live = Live(console=out, auto_refresh=False, transient=True) if out.is_terminal else None
    try:
        if live is not None:
            live.start()
        while True:
            current = read()
            if current != last and live is not None:
                live.update(render_table(current.table, out.encoding), refresh=True)
            elif current != last:
                out.print(render_table(current.table, out.encoding))
            last = current
            if current.complete or abandoned_for >= PATIENCE:
                break
            abandoned_for = abandoned_for + seconds if current.abandoned else 0.0
            time.sleep(seconds)
    except KeyboardInterrupt:
        pass  # Ctrl-C ends watching
    finally:
        if live is not None:
            live.stop()
    if live is not None and last is not None:
        out.print(render_table(last.table, out.encoding))
    if last is not None and last.abandoned and abandoned_for >= PATIENCE:
        error = RunError(
            f"no process trains the runs that are not finished: {', '.join(last.abandoned)}. Watching has ended; give "
            "their training command again, which resumes them"
        )
        error.exit_code = 1
        raise error
