"""Sections of the report that need a run's model: images by label, the code space, nearest training images."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genprior import (
    GenpriorError,
    ImageSet,
    Model,
    Run,
    as_batch,
    evaluating,
    generate_labels,
    images_to_float,
    principal_plane,
    seeded,
    to_uint8,
)
from genprior_report.embed import sheet, strip

__all__ = ["Clock", "Computed", "SharedData", "compute", "distances_to"]

LABELS, OF_EACH = 20, 8
"""Labels in a grid, and images of each."""
CODES, DRAWN = 300, 100
"""Test images in a picture of codes, and codes drawn with the prior."""
LINES, IN_LINE = 3, 10
"""Lines of reconstructions, and images in each."""
SAMPLES, HELD_OUT = 12, 200
"""Samples that are shown beside training images, and held-out images that say which distance is usual."""
_BATCH = 100
_PIXELS = 2**24
"""Numbers of training images that are compared at once."""


class Clock:
    """The time that sections may take: none is begun after it."""

    def __init__(self, seconds: float | None) -> None:
        """Start; None is no limit."""
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return self._end is not None and time.monotonic() >= self._end


class SharedData:
    """The data sets of the runs of a report: each split is read once, and compared with itself once."""

    def __init__(self) -> None:
        """Start without any."""
        self._splits: dict[tuple[str, str], ImageSet] = {}
        self._usual: dict[str, Tensor] = {}

    def images(self, run: Run, split: str) -> ImageSet:
        """A split of the data set of a run."""
        key = (repr(run.described_data), split)
        if key not in self._splits:
            self._splits[key] = run.images(split)
        return self._splits[key]

    def usual(self, run: Run) -> Tensor:
        """The distances of held-out images from their nearest training images, sorted."""
        key = repr(run.described_data)
        if key not in self._usual:
            held_out = self.images(run, "test").images[:HELD_OUT]
            self._usual[key] = distances_to(held_out, self.images(run, "train").images)[1].sort().values
        return self._usual[key]


class Computed(NamedTuple):
    """The sections of one run; None for what its model does not have or that was not computed."""

    labels: list[dict[str, Any]] | None = None
    """`name` and `src` (a line of images) of each label."""
    reconstructions: list[dict[str, Any]] | None = None
    """`name` and `src` of lines of held-out images and of the same ones decoded, in turn."""
    codes: dict[str, Any] | None = None
    """`x`, `y`, `texts`, `kinds` of all points, the sheet of their images, and names of the axes."""
    nearest: dict[str, Any] | None = None
    """`pairs` of a sample and its nearest training image with their distance, and the usual distance."""
    problems: tuple[str, ...] = ()
    """Why a section is missing that the model could have, a sentence each."""
    skipped: bool = False
    """Whether the time was over before all sections were computed."""


def compute(run: Run, clock: Clock, data: SharedData) -> Computed:
    """Compute the sections of a run, as long as there is time.

    Args:
        run: a run with a checkpoint.
        clock: the time that is left.
        data: the data sets, which runs share.
    """
    problems: list[str] = []
    skipped = False

    def section(name: str, make: Callable[[], Any]) -> Any:
        nonlocal skipped
        if clock.over:
            skipped = True
            return None
        try:
            with torch.random.fork_rng():
                return make()
        except (GenpriorError, OSError) as error:
            problems.append(f"{name}: {error}")
            return None

    if clock.over:
        return Computed(skipped=True)
    if section("its model", lambda: run.model) is None:
        return Computed(problems=tuple(problems))
    labels = section("images by label", lambda: _labels(run))
    reconstructions = section("reconstructions", lambda: _reconstructions(run, data))
    codes = section("code space", lambda: _codes(run, data))
    nearest = section("nearest training images", lambda: _nearest(run, data))
    return Computed(labels, reconstructions, codes, nearest, tuple(problems), skipped)


def _labels(run: Run) -> list[dict[str, Any]] | None:
    """Images of each label or category, with the same noise in each line; None for a model that takes neither."""
    model = run.model
    asks = model.asks
    if asks.kind not in ("label", "category") or not model.makes_images:
        return None
    lines = []
    for k in range(min(asks.number, LABELS)):
        images = generate_labels(model, torch.full((OF_EACH,), k), seed=run.seed, stream="report")
        named = run.classes[k] if asks.kind == "label" and k < len(run.classes) else f"category {k}"
        lines.append({"name": named, "src": strip(images), "n": OF_EACH})
    return lines


def _reconstructions(run: Run, data: SharedData) -> list[dict[str, Any]] | None:
    """Held-out images and the same ones decoded; None for a model that does not reconstruct."""
    some = data.images(run, "test").take(slice(LINES * IN_LINE))
    with evaluating(run.model), seeded(run.seed, "reconstruct"):
        decoded = run.model.reconstruct(as_batch(run.model, some, run.device))
    if decoded is None:
        return None
    lines = []
    pieces = zip(torch.split(some.images, IN_LINE), torch.split(to_uint8(decoded).cpu(), IN_LINE), strict=True)
    for originals, own in pieces:
        for name, images in (("held out", originals), ("decoded", own)):
            lines.append({"name": name, "src": strip(images), "n": len(images)})
    return lines


def _codes(run: Run, data: SharedData) -> dict[str, Any] | None:
    """Codes of test images and codes drawn with the prior, in a plane; None if the model has no codes."""
    model, some = run.model, data.images(run, "test").take(slice(CODES))
    encoded = _encoded(model, some, run)
    if encoded is None or min(encoded.shape) < 2 or not bool(encoded.isfinite().all()):
        return None
    drawn, decoded = _drawn(model, run)
    if drawn is not None and (drawn.shape[1] != encoded.shape[1] or not bool(drawn.isfinite().all())):
        drawn, decoded = None, None
    width = encoded.shape[1]
    axes = ["code 1", "code 2"]
    if width > 2:
        plane = principal_plane(encoded)
        encoded = plane.coordinates(encoded)
        drawn = None if drawn is None else plane.coordinates(drawn)
        axes = [f"principal component {i} of {width}" for i in (1, 2)]
    known = bool(some.classes)
    texts = [f"test image, {some.classes[y]}" if known else "test image" for y in some.labels.tolist()]
    kinds = some.labels.tolist() if known else [0] * len(encoded)
    images, points = some.images, encoded
    if drawn is not None and decoded is not None:
        images, points = torch.cat([images, decoded]), torch.cat([encoded, drawn])
        texts += ["drawn with the prior"] * len(drawn)
        kinds += [-1] * len(drawn)
    x, y = ([float(f"{value:.4g}") for value in column.tolist()] for column in points.T)
    classes = list(some.classes) if known else ["test images"]
    return {"x": x, "y": y, "texts": texts, "kinds": kinds, "classes": classes, "axes": axes, "sheet": sheet(images)}


def _encoded(model: Model, some: ImageSet, run: Run) -> Tensor | None:
    """The codes of images, in batches."""
    chunks = []
    with evaluating(model), seeded(run.seed, "report codes"):
        for first in range(0, len(some.images), _BATCH):
            codes = model.encode(as_batch(model, some.take(slice(first, first + _BATCH)), run.device))
            if codes is None:
                return None
            chunks.append(codes.float().cpu())
    return torch.cat(chunks) if chunks else None


def _drawn(model: Model, run: Run) -> tuple[Tensor | None, Tensor | None]:
    """Codes drawn with the prior, and their images; None where the model has none."""
    with evaluating(model), seeded(run.seed, "report prior"):
        condition = model.condition(torch.zeros(DRAWN, device=run.device))
        drawn = model.draw_codes(condition)
        decoded = None if drawn is None else model.decode(drawn, condition)
    if drawn is None or decoded is None:
        return None, None
    return drawn.float().cpu(), to_uint8(decoded).cpu()


def _nearest(run: Run, data: SharedData) -> dict[str, Any] | None:
    """Samples beside their nearest training images, and how far held-out images are from theirs."""
    if not run.model.makes_images:
        return None
    train, held_out = data.images(run, "train").images, data.usual(run)
    images = run.sample(SAMPLES, seed=run.seed)
    at, distances = distances_to(images, train)
    pairs = [
        {
            "sample": strip(image[None]),
            "train": strip(train[i][None]),
            "index": int(i),
            "distance": distance,
            "closer": distance < float(held_out[len(held_out) // 100]),
        }
        for image, i, distance in zip(images, at.tolist(), distances.tolist(), strict=True)
    ]
    return {"pairs": pairs, "usual": float(held_out.median()), "held_out": len(held_out), "train": len(train)}


def distances_to(images: Tensor, train: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest training image of each image, and their distance: root mean square over values in [0, 1].

    Args:
        images: uint8 [n, c, h, w].
        train: uint8 [m, c, h, w], at least one.

    Returns:
        The index int64 [n] and the distance float32 [n].
    """
    x = images_to_float(images).flatten(1) / 2
    best, at = torch.full((len(x),), torch.inf), torch.zeros(len(x), dtype=torch.int64)
    size = max(1, _PIXELS // x.shape[1])
    for first in range(0, len(train), size):
        some = images_to_float(train[first : first + size]).flatten(1) / 2
        nearest, place = torch.cdist(x, some).min(1)
        at = torch.where(nearest < best, place + first, at)
        best = torch.minimum(best, nearest)
    # Again, because the differences of large numbers that `cdist` takes hide that an image is a copy.
    chosen = images_to_float(train[at]).flatten(1) / 2
    return at, (x - chosen).square().mean(1).sqrt()
