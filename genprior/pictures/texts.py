"""Texts of figures: their sizes, their widths, and lines that fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DPI", "MARGIN", "NAME", "TITLE", "width_of", "wrapped", "write"]

DPI = 200
"""Pixels per inch of the figures as PNG."""
TITLE, NAME = 10.0, 8.0
"""Sizes of titles and of the names of rows, columns and groups, in points."""
MARGIN = 0.08
"""Inches around the figure, and between a text and what it names."""


def write(figure: Figure, x: float, y: float, text: str, size: float, **how: Any) -> None:
    """Write a text at a place of the figure, from (0, 0) to (1, 1); none is read as a formula."""
    figure.text(x, y, text, fontsize=size, parse_math=False, **how)


def width_of(text: str, size: float) -> float:
    """The width of a text in inches."""
    from matplotlib.textpath import TextPath

    if not text.strip():
        return 0.0
    # A dollar sign would start a formula here.
    return float(TextPath((0, 0), text.replace("$", "S"), size=size).get_extents().width) / 72


def wrapped(text: str, size: float, width: float) -> list[str]:
    """The lines of a text that fit into a width in inches, broken at spaces; at least one line."""
    lines: list[str] = []
    for word in text.split():
        if lines and width_of(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [" "]
