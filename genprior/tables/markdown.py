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
    title: str, lines: Sequence[Sequence[str]], above: Sequence[str], items: Sequence[str], below: Sequence[str]
) -> str:
    """A table below its title; the first column is aligned left, the others right.

    Args:
        title: the heading.
        lines: the header, then the lines, all with as many cells.
        above: paragraphs below the table.
        items: a list below them.
        below: paragraphs below the list.
    """

    def line(cells: Sequence[str]) -> str:
        first, *others = cells
        shown = [in_markdown(first), *(text if is_bold(text) else in_markdown(text) for text in others)]
        return f"| {' | '.join(shown)} |"

    header, *rows = lines
    rule = ["---", *["---:"] * (len(header) - 1)]
    body = "\n".join([line(header), f"| {' | '.join(rule)} |", *map(line, rows)])
    listed = "\n".join(f"- {line_in_markdown(text)}" for text in items)
    paragraphs = [*map(line_in_markdown, above), listed, *map(line_in_markdown, below)]
    return "\n\n".join([f"# {in_markdown(title)}", body, *filter(None, paragraphs)]) + "\n"
