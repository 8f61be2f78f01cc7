"""Panels for figures of several models: scatter plots coloured by group, with their legends.

Nothing is written here: a figure of matplotlib is returned, whose texts stay texts in a PDF.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from genprior.errors import DataError
from genprior.pictures.texts import DPI, MARGIN, NAME, TITLE, width_of, wrapped, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PALETTE", "Points", "scatter_panels"]

PALETTE = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
"""Ten colours that can be told apart with any colour vision.

Source: Petroff, "Accessible color sequences for data visualization", 2021, the sequence of ten.
"""
SIZE, GAP = 2.7, 0.12
"""Inches of a panel and between panels."""
WIDEST = 7.0
"""Inches that the columns of a legend may take; one column is shown in any case."""
LINE, MARK, COLUMN = 1.52, 2.6, 1.0
"""The height of a line of a legend, and the widths of a mark and between columns, in sizes of its texts."""


class Points(NamedTuple):
    """Points of a plane in groups."""

    places: Tensor
    """[n, 2]."""
    groups: Tensor
    """int64 [n]: the index of each point's group."""


class _Legend(NamedTuple):
    """The texts of a legend, and its size in inches."""

    title: str
    names: tuple[str, ...]
    """Of the groups that are named, from the first."""
    more: int
    """How many groups are not named."""
    columns: int
    width: float


def scatter_panels(
    panels: Sequence[Sequence[Points]],
    *,
    titles: Sequence[str],
    rows: Sequence[str],
    names: Sequence[Sequence[str]],
) -> Figure:
    """Show points of planes coloured by group: a line of panels for each row, with its legend outside, on the right.

    Rows whose groups have the same names share one legend, under the titles of all. A legend has as many columns as its
    names need; names that find no room are left out, and their number is written below the others. The axes have
    neither ticks nor numbers, for places whose units mean nothing, such as those of t-SNE.

    Args:
        panels: the panels of each row, from the left.
        titles: of the columns; long ones are broken into lines.
        rows: the names of the rows, written on the left.
        names: the names of the groups of each row; the first is the title of its legend.

    Raises:
        DataError: a panel has no points, points without a group, or numbers that are not finite.
    """
    for row, named in zip(panels, names, strict=True):
        for each in row:
            _check_points(each, len(named) - 1)
    from matplotlib.figure import Figure

    body = len(rows) * SIZE + (len(rows) - 1) * GAP
    shared = len({tuple(named[1:]) for named in names}) == 1
    legends = [_arranged(names, body)] if shared else [_arranged([named], SIZE) for named in names]
    above = ["\n".join(wrapped(title, TITLE, SIZE)) for title in titles]
    legend = 3 * MARGIN + max(each.width for each in legends)
    left, over = 2.5 * MARGIN + NAME / 72, MARGIN * 2 + max(text.count("\n") + 1 for text in above) * 1.3 * TITLE / 72
    width = left + len(titles) * SIZE + (len(titles) - 1) * GAP + legend
    height = over + body + MARGIN
    figure = Figure(figsize=(width, height), dpi=DPI)
    beside = (width - legend + MARGIN) / width
    for i, row in enumerate(panels):
        bottom = height - over - (i + 1) * SIZE - i * GAP
        for j, points in enumerate(row):
            across = left + j * (SIZE + GAP)
            axis = figure.add_axes((across / width, bottom / height, SIZE / width, SIZE / height))
            _scatter(axis, points, len(names[i]) - 1)
            if i == 0:
                centre = (across + SIZE / 2) / width
                write(figure, centre, 1 - MARGIN / height, above[j], TITLE, ha="center", va="top")
        middle = (bottom + SIZE / 2) / height
        write(figure, MARGIN / width, middle, rows[i], TITLE, ha="left", va="center", rotation=90)
        if not shared:
            _legend(figure, legends[i], len(names[i]) - 1, (beside, middle))
    if shared:
        _legend(figure, legends[0], len(names[0]) - 1, (beside, (MARGIN + body / 2) / height))
    return figure


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


def _arranged(named: Sequence[Sequence[str]], height: float) -> _Legend:
    """The legend of rows whose groups have the same names, in columns that are at most `height` inches high.

    Args:
        named: for each row the title of its legend, and the names of its groups.
        height: what it has room for.
    """
    title = " /\n".join(dict.fromkeys(row[0] for row in named))
    names = tuple(" ".join(name.split()) for name in named[0][1:])
    most = max(1, int(height * 72 / (LINE * NAME)) - len(title.split("\n")))
    # The title stands above the marks, a name beside one of them.
    column = max(width_of(name, NAME) for name in (*names, _more(len(names)))) + MARK * NAME / 72
    between = COLUMN * NAME / 72
    columns = min(math.ceil(len(names) / most), max(1, int((WIDEST + between) / (column + between))))
    shown = len(names) if len(names) <= columns * most else columns * most - 1
    width = max(columns * (column + between) - between, *(width_of(line, NAME) for line in title.split("\n")))
    return _Legend(title, names[:shown], len(names) - shown, columns, width)


def _more(count: int) -> str:
    return f"... and {count} more"


def _legend(figure: Figure, shown: _Legend, groups: int, place: tuple[float, float]) -> None:
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], marker=_marker(k, groups), linestyle="", markersize=4.5, color=_colour(k, groups),
               markeredgewidth=0)
        for k in range(len(shown.names))
    ]  # fmt: skip
    names = list(shown.names)
    if shown.more:
        marks.append(Line2D([], [], marker="", linestyle=""))
        names.append(_more(shown.more))
    # matplotlib omits names with a leading underscore, hence the space.
    legend = figure.legend(
        marks, [f" {name}" for name in names], loc="center left", bbox_to_anchor=place, fontsize=NAME, frameon=False,
        title=shown.title, title_fontsize=NAME, handletextpad=0.1, borderpad=0, borderaxespad=0, labelspacing=0.4,
        columnspacing=COLUMN, ncols=shown.columns, alignment="left",
    )  # fmt: skip
    for text in (legend.get_title(), *legend.get_texts()):
        text.set_parse_math(False)


def _marker(k: int, groups: int) -> str:
    """Circles, and triangles for the second half of many groups, so that colours alone do not tell groups apart."""
    return "^" if groups > 5 and k >= groups / 2 else "o"


def _colour(k: int, groups: int) -> Any:
    from matplotlib import colormaps

    return PALETTE[k] if groups <= len(PALETTE) else colormaps["turbo"]((k + 0.5) / groups)
