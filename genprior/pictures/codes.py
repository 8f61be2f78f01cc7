"""Pictures of the code space: codes of images beside the prior, images along a walk of the prior, and clusters.

Each picture is drawn in memory and then written atomically.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from genprior.errors import DataError
from genprior.pictures.grids import draw_grid
from genprior.storage.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Plane", "draw_clusters", "principal_plane", "draw_codes", "draw_walk"]

FEW = 10
"""Up to this number of classes, colours are easy to tell apart."""


class Plane(NamedTuple):
    """A plane in the code space: `(z - origin) @ axes` are the coordinates [n, 2] of codes z [n, d]."""

    origin: Tensor
    """[d]."""
    axes: Tensor
    """[d, 2], orthonormal columns."""

    def coordinates(self, z: Tensor) -> Tensor:
        """The coordinates [n, 2] of codes z [n, d] in the plane, in double precision on the host."""
        return (z.detach().cpu().double() - self.origin) @ self.axes


def principal_plane(codes: Tensor) -> Plane:
    """The plane of the first two principal components of codes, in double precision.

    The entry of largest magnitude in each component is positive, so that pictures are not mirrored at random.

    Args:
        codes: [n, d] with n and d at least 2.

    Raises:
        DataError: there are fewer codes, they are narrower, or a number is not finite.
    """
    if codes.ndim != 2 or min(codes.shape) < 2 or not bool(codes.isfinite().all()):
        raise DataError(
            "principal components need at least two codes of at least two finite numbers each; "
            f"got {list(codes.shape)}" + ("" if bool(codes.isfinite().all()) else " with numbers that are not finite")
        )
    z = codes.detach().cpu().double()
    origin = z.mean(0)
    _, _, components = torch.linalg.svd(z - origin, full_matrices=False)
    axes = components[:2].mT
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    return Plane(origin, axes * torch.where(largest < 0, -1.0, 1.0))


def draw_codes(
    codes: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    path: str | os.PathLike[str],
    prior: Tensor | None = None,
    axes: tuple[str, str] = ("$z_1$", "$z_2$"),
) -> None:
    """Write a scatter plot of codes of images, coloured by class, beside samples of the prior on the same axes.

    Args:
        codes: [n, 2].
        labels: int64 [n], in the order of `classes`.
        classes: names for the legend; if empty, all points have one colour.
        path: the PNG to write.
        prior: [m, 2]; without it there is one panel.
        axes: the labels of the two axes.

    Raises:
        DataError: there are no codes, or they are not [n, 2] with one label each.
    """
    _check_codes("codes", codes)
    if prior is not None:
        _check_codes("samples of the prior", prior)
    if classes and (labels.shape != codes.shape[:1] or not 0 <= int(labels.min()) <= int(labels.max()) < len(classes)):
        raise DataError(
            f"a picture of {len(codes)} codes in {len(classes)} classes needs a label from 0 to {len(classes) - 1} for "
            f"each; got labels {list(labels.shape)}"
        )
    from matplotlib.figure import Figure

    points = codes.detach().cpu().double()
    panels = 1 if prior is None else 2
    figure = Figure(figsize=(4.6 * panels + (1.2 if classes else 0), 4.6), dpi=120, layout="constrained")
    left = figure.add_subplot(1, panels, 1)
    handles = []
    if classes:
        labels = labels.cpu()
        # matplotlib omits names with a leading underscore from the legend, hence the space.
        for k, name in enumerate(classes):
            handles.append(_points(left, points[labels == k], _colour(k, len(classes)), f" {name}"))
    else:
        _points(left, points, _colour(0, 1))
    _label_axes(left, "codes of images", axes)
    if prior is not None:
        right = figure.add_subplot(1, panels, 2, sharex=left, sharey=left)
        _points(right, prior.detach().cpu().double(), "0.35")
        _label_axes(right, "samples of the prior", axes)
    if handles:
        legend = figure.legend(handles=handles, loc="outside right upper", fontsize=8, markerscale=2.5)
        for text in legend.get_texts():
            text.set_parse_math(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    with whole_file(Path(path)) as partial:
        partial.write_bytes(buffer.getvalue())


def draw_walk(images: Tensor, path: str | os.PathLike[str]) -> None:
    """Write images along a walk of the prior as a grid, two pixels apart.

    Args:
        images: uint8 [rows, columns, c, h, w].
        path: the PNG to write.

    Raises:
        DataError: there are no images, or they do not have this shape.
    """
    if images.ndim != 5:
        raise DataError(f"a walk is images [rows, columns, c, h, w]; got {images.dtype} {list(images.shape)}")
    draw_grid(images.flatten(0, 1), path, columns=images.shape[1])


def draw_clusters(heads: Tensor | None, members: Sequence[Tensor] | Tensor, path: str | os.PathLike[str]) -> None:
    """Write clusters as the rows of a grid, two pixels apart: the head of each, if given, then its images.

    Args:
        heads: uint8 [K, c, h, w], the left column; None omits it.
        members: the images of each of the K clusters, uint8 [m, c, h, w]; rows of smaller clusters are filled with
            black.
        path: the PNG to write.

    Raises:
        DataError: the numbers of heads and clusters differ, no cluster has an image, or the images are not valid.
    """
    if heads is not None and len(heads) != len(members):
        raise DataError(f"each cluster has one head; got {len(heads)} heads and the images of {len(members)} clusters")
    columns = max((len(images) for images in members), default=0)
    if not columns:
        raise DataError(f"a picture of clusters needs an image in at least one; all {len(members)} are empty")
    size = next(images for images in members if len(images)).shape[1:]
    rows = []
    for k, images in enumerate(members):
        blank = torch.zeros(columns - len(images), *size, dtype=torch.uint8)
        head = [] if heads is None else [heads[k : k + 1].cpu()]
        rows.append(torch.cat([*head, *([images.cpu()] if len(images) else []), blank]))
    draw_grid(torch.cat(rows), path, columns=columns + (heads is not None))


def _check_codes(what: str, codes: Tensor) -> None:
    if codes.ndim != 2 or codes.shape[1] != 2 or not len(codes):
        raise DataError(f"a picture of codes needs at least one point of the plane; the {what} are {list(codes.shape)}")


def _points(axis: Axes, points: Tensor, colour: Any, label: str | None = None) -> Any:
    across, up = points.numpy().T
    return axis.scatter(across, up, s=6, linewidths=0, color=colour, label=label)


def _label_axes(axis: Axes, title: str, axes: tuple[str, str]) -> None:
    axis.set_title(title, fontsize=10)
    axis.set_xlabel(axes[0], fontsize=9)
    axis.set_ylabel(axes[1], fontsize=9)
    axis.set_aspect("equal", adjustable="box")
    axis.tick_params(labelsize=8)


def _colour(k: int, classes: int) -> Any:
    """The colour of class k."""
    from matplotlib import colormaps

    return colormaps["tab10"](k) if classes <= FEW else colormaps["turbo"]((k + 0.5) / classes)
