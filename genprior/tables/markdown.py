"""Lays a table out as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from genprior.tables.escape import in_markdown, line_in_markdown

__all__ = ["is_bold", "markdown"]

_BOLD = re.compile(r"\*\*-?[\d.]+( ± [\d.]+)?\*\*")


def is_bold(text: str) -> bool:
    """Whether the text of a cell is a measured number between double asterisks."""
    return _BOLD.fullmatch(text) is not None


def markdown(
    title: str | None,
    lines: Sequence[Sequence[str]],
    above: Sequence[str],
    items: Sequence[str],
    below: Sequence[str],
    second: Sequence[Sequence[str]] = (),
) -> str:
    """A table below its title; the first column is aligned left, the others right.

    Args:
        title: the heading; None for none.
        lines: the header, then the lines, all with as many cells.
        above: paragraphs below the table.
        items: a list below them.
        below: paragraphs below the list.
        second: the header and the lines of a second table, directly below the first; none if empty.
    """

    def line(cells: Sequence[str], *, bold: bool = True) -> str:
        first, *others = cells
        shown = [in_markdown(first), *(text if bold and is_bold(text) else in_markdown(text) for text in others)]
        return f"| {' | '.join(shown)} |"

    def grid(header: Sequence[str], *rows: Sequence[str]) -> str:
        rule = ["---", *["---:"] * (len(header) - 1)]
        return "\n".join([line(header, bold=False), f"| {' | '.join(rule)} |", *map(line, rows)])

    grids = [grid(*some) for some in (lines, second) if some]
    listed = "\n".join(f"- {line_in_markdown(text)}" for text in items)
    paragraphs = [*map(line_in_markdown, above), listed, *map(line_in_markdown, below)]
    heading = [] if title is None else [f"# {in_markdown(title)}"]
    return "\n\n".join([*heading, *grids, *filter(None, paragraphs)]) + "\n"
