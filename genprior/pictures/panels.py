"""Panels for figures of several models: grids of images with their names, and scatter plots coloured by group.

Nothing is written here: both functions return a figure of matplotlib, whose texts stay texts in a PDF.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from genprior.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PALETTE", "Points", "Tiles", "scatter_panels", "tile_panels"]

DPI = 200
"""Pixels per inch of the figures as PNG; the panels of images are placed on whole pixels of them."""
GAP = 2
"""White pixels of an image between neighbouring images, as in the paper's figures."""
PALETTE = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
"""Ten colours that can be told apart with any colour vision.

Source: Petroff, "Accessible color sequences for data visualization", 2021, the sequence of ten.
"""
TITLE, NAME = 10.0, 8.0
"""Sizes of titles and of the names of rows and columns, in points."""
PANEL = 3.3
"""Inches that a grid of images should be wide; each image is shown with whole pixels, 0.25 to 0.5 inches wide."""
TEXT = 2.4
"""Inches of the names of rows."""
SMALLEST, LINE = 5.0, 1.1
"""The smallest size of the name of a row that would not fit beside it, in points, and the distance of its lines."""
MARGIN = 0.08
"""Inches around the figure, and between a text and what it names."""


class Tiles(NamedTuple):
    """A grid of images with its title."""

    title: str
    images: Tensor
    """uint8 [rows, columns, c, h, w]; c is 1 or 3."""


class Points(NamedTuple):
    """Points of a plane in groups."""

    places: Tensor
    """[n, 2]."""
    groups: Tensor
    """int64 [n]: the index of each point's group."""


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
        DataError: there are no images, they are not uint8 [rows, columns, c, h, w] with 1 or 3 channels, or the numbers
            of names differ from those of rows and columns.
    """
    _check_tiles(panels, columns, rows)
    from matplotlib.figure import Figure

    across = min(across, len(panels))
    grids = [_enlarged(panel.images) for panel in panels]
    widest = max(grid.shape[1] for grid in grids)
    highest = max(grid.shape[0] for grid in grids)
    margin, between = _pixels(MARGIN), _pixels(3 * MARGIN)
    titles = ["\n".join(_wrapped(panel.title, TITLE, widest / DPI)) for panel in panels]
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
        _text(figure, middle, above, titles[place], TITLE, ha="center", va="bottom")
        for j, name in enumerate(columns):
            at = (left + (j + 0.5) * wide / len(columns)) / width
            turned: dict[str, Any] = {"rotation": 45, "ha": "left", "rotation_mode": "anchor"} if slanted else {}
            shown = {"ha": "center", "va": "bottom", **turned}
            _text(figure, at, 1 - (top - margin / 3) / height, name, NAME, **shown)
        for i, name in enumerate(rows if stand == 0 else ()):
            at = 1 - (top + (i + 0.5) * high / len(rows)) / height
            lines, size = _fitted(name, high / len(rows) / DPI)
            _text(figure, (left - margin) / width, at, lines, size, ha="right", va="center", linespacing=LINE)
    return figure


def scatter_panels(
    panels: Sequence[Sequence[Points]],
    *,
    titles: Sequence[str],
    rows: Sequence[str],
    names: Sequence[Sequence[str]],
) -> Figure:
    """Show points of planes coloured by group: a line of panels for each row, with its legend outside, on the right.

    The axes have neither ticks nor numbers, for places whose units mean nothing, such as those of t-SNE.

    Args:
        panels: [rows][columns].
        titles: of the columns.
        rows: the names of the rows, written on the left.
        names: the names of the groups of each row; the first is the title of its legend.

    Raises:
        DataError: a panel has no points, points without a group, or numbers that are not finite.
    """
    for row, named in zip(panels, names, strict=True):
        for each in row:
            _check_points(each, len(named) - 1)
    from matplotlib.figure import Figure

    size, gap = 2.7, 0.12
    # The title stands above the marks, a name beside one of them.
    longest = [
        max(_width(named[0], NAME), *(_width(name, NAME) + 2 * NAME / 72 for name in named[1:])) for named in names
    ]
    legend = 3 * MARGIN + max(longest)
    left, over = 2.5 * MARGIN + NAME / 72, MARGIN * 2 + 1.3 * TITLE / 72
    width = left + len(titles) * size + (len(titles) - 1) * gap + legend
    height = over + len(rows) * size + (len(rows) - 1) * gap + MARGIN
    figure = Figure(figsize=(width, height), dpi=DPI)
    for i, row in enumerate(panels):
        bottom = height - over - (i + 1) * size - i * gap
        for j, points in enumerate(row):
            across = left + j * (size + gap)
            axis = figure.add_axes((across / width, bottom / height, size / width, size / height))
            _scatter(axis, points, len(names[i]) - 1)
            if i == 0:
                centre = (across + size / 2) / width
                _text(figure, centre, 1 - MARGIN / height, titles[j], TITLE, ha="center", va="top")
        middle = (bottom + size / 2) / height
        _text(figure, MARGIN / width, middle, rows[i], TITLE, ha="left", va="center", rotation=90)
        _legend(figure, names[i], ((width - legend + MARGIN) / width, middle))
    return figure


# ---------------------------------------------------------------------------------------------------------------------
# Images
# ---------------------------------------------------------------------------------------------------------------------


def _check_tiles(panels: Sequence[Tiles], columns: Sequence[str], rows: Sequence[str]) -> None:
    if not panels:
        raise DataError("a figure of images needs at least one panel; none was given")
    for title, images in panels:
        if images.dtype != torch.uint8 or images.ndim != 5 or images.shape[2] not in (1, 3) or not images.numel():
            raise DataError(
                f"panel '{title}' needs images uint8 [rows, columns, c, h, w] with c = 1 or 3; got {images.dtype} "
                f"{list(images.shape)}"
            )
        for word, given, axis in (("rows", rows, 0), ("columns", columns, 1)):
            if given and len(given) != images.shape[axis]:
                raise DataError(f"panel '{title}' has {images.shape[axis]} {word}, and {len(given)} names were given")


def _enlarged(images: Tensor) -> Tensor:
    """The grid [H, W, 3] of images [rows, columns, c, h, w], each enlarged by one whole number."""
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
    widths = [_pixels(_width(name, NAME)) for name in columns]
    column, line = wide / len(columns), _pixels(1.3 * NAME / 72)
    if max(widths) <= 0.95 * column:
        return False, line, 0
    # At 45 degrees a text is as high as it is wide: its length and its own height, each over the square root of 2.
    ends = [(j + 0.5) * column + (width + line) * math.sqrt(0.5) for j, width in enumerate(widths)]
    return True, round((max(widths) + line) * math.sqrt(0.5)), max(0, round(max(ends) - wide))


def _pixels(inches: float) -> int:
    return round(inches * DPI)


# ---------------------------------------------------------------------------------------------------------------------
# Points
# ---------------------------------------------------------------------------------------------------------------------


def _check_points(points: Points, groups: int) -> None:
    places, own = points
    if places.ndim != 2 or places.shape[1] != 2 or not len(places) or not bool(places.isfinite().all()):
        raise DataError(
            f"a panel of points needs at least one place [n, 2] of finite numbers; got {list(places.shape)}"
        )
    if own.shape != places.shape[:1] or not 0 <= int(own.min()) <= int(own.max()) < groups:
        raise DataError(
            f"a panel of {len(places)} points in {groups} groups needs a group from 0 to {groups - 1} for each; got "
            f"{list(own.shape)}"
        )


def _scatter(axis: Axes, points: Points, groups: int) -> None:
    for marker in {_marker(k, groups): None for k in range(groups)}:
        # In the order of the points, so that no group hides the others.
        shown = [i for i, k in enumerate(points.groups.tolist()) if _marker(k, groups) == marker]
        across, up = points.places[shown].double().cpu().numpy().T
        colours = [_colour(int(points.groups[i]), groups) for i in shown]
        axis.scatter(across, up, s=7 if marker == "o" else 9, marker=marker, linewidths=0, c=colours)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.margins(0.04)
    for side in axis.spines.values():
        side.set_color("0.7")
        side.set_linewidth(0.6)


def _legend(figure: Figure, names: Sequence[str], place: tuple[float, float]) -> None:
    from matplotlib.lines import Line2D

    title, groups = names[0], names[1:]
    marks = [
        Line2D(
            [],
            [],
            marker=_marker(k, len(groups)),
            linestyle="",
            markersize=4.5,
            color=_colour(k, len(groups)),
            markeredgewidth=0,
        )  # fmt: skip
        for k in range(len(groups))
    ]
    # matplotlib omits names with a leading underscore, hence the space.
    legend = figure.legend(
        marks, [f" {name}" for name in groups], loc="center left", bbox_to_anchor=place, fontsize=NAME, frameon=False,
        title=title, title_fontsize=NAME, handletextpad=0.1, borderpad=0, labelspacing=0.4, alignment="left",
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)


def _marker(k: int, groups: int) -> str:
    """Circles, and triangles for the second half of many groups, so that colours alone do not tell groups apart."""
    return "^" if groups > 5 and k >= groups / 2 else "o"


def _colour(k: int, groups: int) -> Any:
    from matplotlib import colormaps

    return PALETTE[k] if groups <= len(PALETTE) else colormaps["turbo"]((k + 0.5) / groups)


# ---------------------------------------------------------------------------------------------------------------------
# Texts
# ---------------------------------------------------------------------------------------------------------------------


def _text(figure: Figure, x: float, y: float, text: str, size: float, **how: Any) -> None:
    figure.text(x, y, text, fontsize=size, parse_math=False, **how)


def _width(text: str, size: float) -> float:
    """The width of a text in inches."""
    from matplotlib.textpath import TextPath

    if not text.strip():
        return 0.0
    # A dollar sign would start a formula here.
    return float(TextPath((0, 0), text.replace("$", "S"), size=size).get_extents().width) / 72


def _fitted(text: str, height: float) -> tuple[str, float]:
    """The lines of the name of a row, and their size in points, smaller where they are higher than a row, in inches."""
    size = NAME
    while True:
        lines = _wrapped(text, size, TEXT)
        if len(lines) * size * 1.2 * LINE / 72 <= height or size <= SMALLEST:
            return "\n".join(lines), size
        size -= 0.5


def _wrapped(text: str, size: float, width: float) -> list[str]:
    """The lines of a text that fit into a width in inches, broken at spaces; at least one line."""
    lines: list[str] = []
    for word in text.split():
        if lines and _width(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [" "]
