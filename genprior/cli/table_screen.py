"""A table on the screen: once, or again and again while runs train."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table as Grid
from rich.text import Text

from genprior.tables.table import REAL, Table, is_bold

if TYPE_CHECKING:
    from genprior.bench.bench import Benched

__all__ = ["drawn", "watch"]


def drawn(table: Table) -> Group:
    """The table with its footnotes, its protocols and notes; best cells are bold."""
    header, lines, marks = table.layout()
    grid = Grid(title=Text(table.title), title_justify="left", title_style="bold")
    for place, text in enumerate(header):
        grid.add_column(Text(text), justify="right" if place else "left", overflow="fold")
    for line in lines:
        real = line[0] == REAL and line is lines[-1]
        grid.add_row(*(_cell(text) for text in line), style="dim" if real else None)
    below = [Text(table.footnote(), style="dim")]
    below += [Text(text, style="dim") for text in table.numbered(marks)]
    below += [Text(f"Protocol of {text}", style="dim") for text in table.protocol()]
    below += [Text(f"Note: {note}", style="yellow") for note in table.notes]
    return Group(grid, *below)


def _cell(text: str) -> Text:
    return Text(text[2:-2], style="bold green") if is_bold(text) else Text(text)


def watch(look: Callable[[], Benched], seconds: float, out: Console) -> None:
    """Show the table, and again whenever it changed, until all its runs are finished or the user stops it (Ctrl-C).

    A terminal shows it in one place; elsewhere every change is printed.

    Args:
        look: makes the table anew.
        seconds: from one look to the next.
        out: where to show it.
    """
    last: Benched | None = None
    live = Live(console=out, auto_refresh=False, transient=True) if out.is_terminal else None
    try:
        if live is not None:
            live.start()
        while True:
            found = look()
            if found != last and live is not None:
                live.update(drawn(found.table), refresh=True)
            elif found != last:
                out.print(drawn(found.table))
            last = found
            if found.complete:
                break
            time.sleep(seconds)
    except KeyboardInterrupt:
        pass  # the way to end it
    finally:
        if live is not None:
            live.stop()
    if live is not None and last is not None:
        out.print(drawn(last.table))
