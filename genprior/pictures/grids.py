"""Pictures as files: grids of images, panels side by side, and curves of a run.

Each picture is drawn in memory and then written atomically, so a killed run leaves no partial file.
"""

from __future__ import annotations

import io
import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genprior.errors import DataError, RunError
from genprior.storage.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_curves", "draw_grid", "is_side_by_side", "printable", "side_by_side"]

PADDING = 2
"""Pixels between the images of a grid, as in the paper's figures."""
PANELS_A_LINE = 4
_HEADING = 10
"""Height of the names of columns in pixels."""
_SOFTWARE = "genprior"
"""The metadata `Software` of pictures side by side."""
_NO_CURVE = ("step", "seconds")
"""What a record holds beside numbers of the training: its place, and the time it took."""
_PNG = b"\x89PNG\r\n\x1a\n"


def draw_grid(images: Tensor, path: str | os.PathLike[str], columns: int = 10, names: Sequence[str] = ()) -> None:
    """Write images as one PNG, row by row, with two black pixels between them.

    100 images of 32 x 32 in 10 columns make 342 x 342 pixels, as in the paper's figures.

    Args:
        images: uint8 [n, c, h, w], shown as `printable` says.
        path: the PNG to write.
        columns: images per row.
        names: a name above each column, upright if one is wider than the images; none by default.

    Raises:
        DataError: there are no images, they are not uint8 [n, c, h, w], or the numbers of names and columns differ.
    """
    if names and len(names) != columns:
        raise DataError(f"a grid of {columns} columns needs as many names; {len(names)} were given")
    tile = _tile(images, columns)
    if names:
        tile = torch.cat([_headings(names, images.shape[3] + PADDING, tile.shape[2]), tile], dim=1)
    _write(path, _png(tile))


def side_by_side(panels: Mapping[str, Tensor], path: str | os.PathLike[str], columns: int = 10) -> None:
    """Write the grids of several models as one PNG, each under its label, four per line.

    Args:
        panels: label -> images uint8 [n, c, h, w]; sizes may differ.
        path: the PNG to write.
        columns: images per row of a panel.

    Raises:
        DataError: there is no panel, or the images of one are not uint8 [n, c, h, w].
    """
    if not panels:
        raise DataError("a picture side by side needs at least one panel; none was given")
    tiles = {label: _tile(images, columns) for label, images in panels.items()}
    figure, axes = _panels(len(tiles), width=3.2, height=3.2 * max(_aspect(tile) for tile in tiles.values()) + 0.45)
    for axis, (label, tile) in zip(axes, tiles.items(), strict=True):
        axis.imshow(tile.permute(1, 2, 0).numpy(), interpolation="nearest")
        axis.set_title("\n".join(textwrap.wrap(label, 34)) or " ", fontsize=11, parse_math=False)
        axis.set_axis_off()
    _write(path, _render(figure, {"Software": _SOFTWARE}))


def is_side_by_side(content: bytes) -> bool:
    """Whether this is the content of a file that `side_by_side` wrote, by its metadata; older versions wrote none."""
    return content.startswith(_PNG) and b"tEXtSoftware\0" + _SOFTWARE.encode() in content


def draw_curves(metrics: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Write the metrics of a run as one PNG: a panel for each recorded number but the seconds, against the step.

    Args:
        metrics: rows of `metrics.jsonl`: `step`, and numbers by name. A name may be missing from a row; values
            that are not numbers are ignored, and those that are not finite leave a gap.
        path: the PNG to write.

    Raises:
        RunError: no row has a step and a number.
    """
    series: dict[str, list[tuple[float, float]]] = {}
    for row in metrics:
        for key, value in row.items():
            if (
                key not in _NO_CURVE
                and "step" in row
                and isinstance(value, int | float)
                and not isinstance(value, bool)
            ):
                series.setdefault(key, []).append((float(row["step"]), float(value)))
    if not series:
        raise RunError("no curves to draw: no row of the metrics has a 'step' and a number; train a few steps first")
    figure, axes = _panels(len(series), width=3.6, height=2.5)
    for axis, (key, points) in zip(axes, series.items(), strict=True):
        steps, values = zip(*points, strict=True)
        finite = [value if math.isfinite(value) else math.nan for value in values]
        axis.plot(steps, finite, linewidth=1.0, marker="." if len(points) < 20 else None)
        axis.set_title(key, fontsize=10, parse_math=False)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
    _write(path, _render(figure))


def printable(images: Tensor) -> Tensor:
    """Images that a picture can show, [..., 1 or 3, h, w']: one channel is grey, three are red, green and blue.

    Any other number of channels has no colours: the channels of an image are shown in grey, from left to right.

    Args:
        images: [..., c, h, w].
    """
    c = images.shape[-3]
    return images if c in (1, 3) else torch.cat(images.unbind(-3), -1).unsqueeze(-3)


def _write(path: str | os.PathLike[str], content: bytes) -> None:
    with whole_file(Path(path)) as partial:
        partial.write_bytes(content)


def _tile(images: Tensor, columns: int) -> Tensor:
    """The grid of the images, uint8 [3, H, W]."""
    if images.dtype != torch.uint8 or images.ndim != 4 or not images.numel():
        raise DataError(
            f"a picture needs at least one image, uint8 [n, c, h, w]; got {images.dtype} {list(images.shape)}"
        )
    if columns < 1:
        raise DataError(f"a grid needs at least one column; got {columns}")
    # Importing torchvision takes longer than torch; commands that draw nothing should not wait for it.
    from torchvision.utils import make_grid

    images = printable(images.detach().cpu())
    if len(images) == 1:
        # make_grid adds no border to a single image; this adds it, so that sizes follow one rule.
        blank = images.new_zeros(1, *images.shape[1:])
        height, width = images.shape[2:]
        tiled: Tensor = make_grid(torch.cat([images, blank]), nrow=2, padding=PADDING)
        return tiled[:, : height + 2 * PADDING, : width + 2 * PADDING]
    tiled = make_grid(images, nrow=columns, padding=PADDING)
    return tiled


def _headings(names: Sequence[str], step: int, width: int) -> Tensor:
    """White names on black, name i above column i of a grid whose columns are `step` pixels apart, uint8 [3, H, W]."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(_HEADING)
    shown = [" ".join(name.split())[:40] for name in names]
    widths = [math.ceil(font.getlength(name)) for name in shown]
    high = _HEADING + 4
    upright = max(widths) > step - PADDING
    picture = Image.new("RGB", (width, (max(widths) + PADDING if upright else high)))
    for place, (name, wide) in enumerate(zip(shown, widths, strict=True)):
        text = Image.new("RGB", (max(1, wide), high))
        ImageDraw.Draw(text).text((0, 0), name, font=font, fill="white")
        if upright:
            text = text.rotate(90, expand=True)
        middle = PADDING + place * step + (step - PADDING) // 2
        picture.paste(text, (middle - text.width // 2, picture.height - text.height))
    return (
        torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(*picture.size[::-1], 3).permute(2, 0, 1)
    )


def _aspect(tile: Tensor) -> float:
    return tile.shape[1] / tile.shape[2]


def _png(tile: Tensor) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(tile.permute(1, 2, 0).contiguous().numpy()).save(buffer, format="PNG")
    return buffer.getvalue()


def _panels(n: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of n axes, four per line; sizes in inches. Without pyplot, so that no global state changes."""
    from matplotlib.figure import Figure

    across = min(n, PANELS_A_LINE)
    down = math.ceil(n / across)
    figure = Figure(figsize=(width * across, height * down), dpi=120, layout="constrained")
    axes = [figure.add_subplot(down, across, place + 1) for place in range(n)]
    return figure, axes


def _render(figure: Figure, metadata: Mapping[str, str] | None = None) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure)  # registers itself as the canvas of the figure
    figure.savefig(buffer, format="png", metadata=metadata)
    return buffer.getvalue()
