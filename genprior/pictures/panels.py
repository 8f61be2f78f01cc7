"""Panels for figures of several models: grids of images with their names.

Nothing is written here: a figure of matplotlib is returned, whose texts stay texts in a PDF.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from genprior.errors import DataError
from genprior.pictures.grids import printable
from genprior.pictures.texts import DPI, MARGIN, NAME, TITLE, width_of, wrapped, write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Tiles", "tile_panels"]

GAP = 2
"""White pixels of an image between neighbouring images, as in the paper's figures."""
PANEL = 3.3
"""Inches that a grid of images should be wide; each image is shown with whole pixels, 0.25 to 0.5 inches wide."""
TEXT = 2.4
"""Inches of the names of rows."""
SMALLEST, LINE = 5.0, 1.1
"""The smallest size of the name of a row that would not fit beside it, in points, and the distance of its lines."""


class Tiles(NamedTuple):
    """A grid of images with its title."""

    title: str
    """Printed above the grid."""
    images: Tensor
    """uint8 [rows, columns, c, h, w]; channels that are not 1 or 3 are shown side by side."""


def tile_panels(
    panels: Sequence[Tiles],
    *,
    columns: Sequence[str] = (),
    rows: Sequence[str] = (),
    across: int = 4,
) -> Figure:
    """Show grids of images side by side, each under its title, with two white pixels between images.

    Args:
        panels: their grids have equally many rows and columns where `rows` or `columns` are given.
        columns: a name above each column of every grid.
        rows: a name beside each row, left of the first grid of each line; long ones are broken into lines.
        across: the number of grids in a line.

    Raises:
        DataError: there are no images, they are not uint8 [rows, columns, c, h, w], or the numbers
            of names differ from those of rows and columns.
    """
    _check_tiles(panels, columns, rows)
    from matplotlib.figure import Figure

    across = min(across, len(panels))
    grids = [_enlarged(panel.images) for panel in panels]
    widest = max(grid.shape[1] for grid in grids)
    highest = max(grid.shape[0] for grid in grids)
    margin, between = _pixels(MARGIN), _pixels(3 * MARGIN)
    titles = ["\n".join(wrapped(panel.title, TITLE, widest / DPI)) for panel in panels]
    titled = max(title.count("\n") + 1 for title in titles) * _pixels(1.3 * TITLE / 72) + margin // 2
    slanted, named, beyond = _room_of_names(columns, min(grid.shape[1] for grid in grids))
    over = titled + named
    beside = _pixels(TEXT + MARGIN) if rows else 0
    width = margin + beside + across * widest + (across - 1) * between + beyond + margin
    down = math.ceil(len(panels) / across)
    height = margin + down * (over + highest) + (down - 1) * between + margin
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    for place, grid in enumerate(grids):
        line, stand = divmod(place, across)
        left = margin + beside + stand * (widest + between)
        top = margin + line * (over + highest + between) + over
        high, wide = grid.shape[:2]
        axis = figure.add_axes((left / width, 1 - (top + high) / height, wide / width, high / height))
        axis.imshow(grid.numpy(), interpolation="none", aspect="auto")
        axis.set_axis_off()
        middle, above = (left + wide / 2) / width, 1 - (top - named - margin / 2) / height
        write(figure, middle, above, titles[place], TITLE, ha="center", va="bottom")
        for j, name in enumerate(columns):
            at = (left + (j + 0.5) * wide / len(columns)) / width
            turned: dict[str, Any] = {"rotation": 45, "ha": "left", "rotation_mode": "anchor"} if slanted else {}
            shown = {"ha": "center", "va": "bottom", **turned}
            write(figure, at, 1 - (top - margin / 3) / height, name, NAME, **shown)
        for i, name in enumerate(rows if stand == 0 else ()):
            at = 1 - (top + (i + 0.5) * high / len(rows)) / height
            lines, size = _fitted(name, high / len(rows) / DPI)
            write(figure, (left - margin) / width, at, lines, size, ha="right", va="center", linespacing=LINE)
    return figure


def _check_tiles(panels: Sequence[Tiles], columns: Sequence[str], rows: Sequence[str]) -> None:
    if not panels:
        raise DataError("a figure of images needs at least one panel; none was given")
    for title, images in panels:
        if images.dtype != torch.uint8 or images.ndim != 5 or not images.numel():
            raise DataError(
                f"panel '{title}' needs images uint8 [rows, columns, c, h, w]; got {images.dtype} {list(images.shape)}"
            )
        for word, given, axis in (("rows", rows, 0), ("columns", columns, 1)):
            if given and len(given) != images.shape[axis]:
                raise DataError(f"panel '{title}' has {images.shape[axis]} {word}, and {len(given)} names were given")


def _enlarged(images: Tensor) -> Tensor:
    """The grid [H, W, 3] of images [rows, columns, c, h, w], each enlarged by one whole number."""
    images = printable(images)
    n, m, _, h, w = images.shape
    grid = torch.full((n * (h + GAP) - GAP, m * (w + GAP) - GAP, 3), 255, dtype=torch.uint8)
    for i in range(n):
        for j in range(m):
            grid[i * (h + GAP) :, j * (w + GAP) :][:h, :w] = images[i, j].cpu().permute(1, 2, 0)
    times = max(1, round(min(0.5, max(0.25, PANEL / m)) * DPI / max(h, w)))
    return grid.repeat_interleave(times, 0).repeat_interleave(times, 1)


def _room_of_names(columns: Sequence[str], wide: int) -> tuple[bool, int, int]:
    """Whether the names of columns are slanted, and the pixels that they need above and beyond a grid `wide` pixels."""
    if not columns:
        return False, 0, 0
    widths = [_pixels(width_of(name, NAME)) for name in columns]
    column, line = wide / len(columns), _pixels(1.3 * NAME / 72)
    if max(widths) <= 0.95 * column:
        return False, line, 0
    # At 45 degrees a text is as high as it is wide: its length and its own height, each over the square root of 2.
    ends = [(j + 0.5) * column + (width + line) * math.sqrt(0.5) for j, width in enumerate(widths)]
    return True, round((max(widths) + line) * math.sqrt(0.5)), max(0, round(max(ends) - wide))


def _pixels(inches: float) -> int:
    return round(inches * DPI)


def _fitted(text: str, height: float) -> tuple[str, float]:
    """The lines of the name of a row, and their size in points, smaller where they are higher than a row, in inches."""
    size = NAME
    while True:
        lines = wrapped(text, size, TEXT)
        if len(lines) * size * 1.2 * LINE / 72 <= height or size <= SMALLEST:
            return "\n".join(lines), size
        size -= 0.5
