"""Lays a table out as plain text, for `print`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from genprior.errors import visible

__all__ = ["plain_text"]

_WIDTH = 100
"""Characters in a line of the text below a table."""


def plain_text(
    title: str, lines: Sequence[Sequence[str]], *below: Iterable[str], second: Sequence[Sequence[str]] = ()
) -> str:
    """A table in columns as wide as their widest cells; the first one is aligned left, the others right.

    Args:
        title: the line above.
        lines: the header, then the lines, all with as many cells.
        below: groups of paragraphs below the table, folded after about 100 characters.
        second: the header and the lines of a second table, directly below the first; none if empty.
    """
    grids = [_grid(some) for some in (lines, second) if some]
    groups = ["\n".join(textwrap.fill(visible(text), _WIDTH) for text in group) for group in below]
    return "\n\n".join([visible(title), *grids, *filter(None, groups)])


def _grid(lines: Sequence[Sequence[str]]) -> str:
    cells = [[" ".join(visible(cell).split()) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rows = [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
    rows.insert(1, "-" * (sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join(rows)
