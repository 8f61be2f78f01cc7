"""A user's own images in a NumPy archive."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, field_validator

from genprior import (
    DataError,
    Dataset,
    ImageSet,
    LocalPath,
    PartConfig,
    array_to_uint8,
    check_images,
    check_levels,
    fit_images,
    hash_file,
    read_archive,
)
from genprior_std.datasets.shared import MOST_UNNAMED_CLASSES, check_split, hold_out

__all__ = ["Arrays"]

_RANGES = ((0.0, 1.0), (-1.0, 1.0))


class Arrays(Dataset):
    """Images of an .npz file, made with `numpy.savez(path, images=..., labels=..., classes=...)`.

    `images`, or `arr_0`, or the only array is [n, h, w], [n, h, w, c] or [n, c, h, w] with any number of channels, in
    uint8, in bool (black and white), or in floating point with `range` giving the values of black and white. `labels`
    [n] (integers from 0), `classes` (names in label order) and `captions` (strings, [n] or [n, k]) may be left out.
    Pickled content is never read, so a file from elsewhere cannot run code.
    """

    name = "arrays"
    locations = ("path",)

    class Config(PartConfig):
        """Settings of a NumPy archive."""

        retired: ClassVar[Mapping[str, Any]] = {"split_seed": 0}

        path: LocalPath
        """The .npz file; a relative path starts at the current directory, and is kept as an absolute one."""
        size: int | None = Field(default=32, ge=1)
        """Height and width of the images in pixels; None leaves them as they are."""
        how: Literal["pad", "resize"] = "resize"
        """How images are fitted to `size`: zero padding, or bilinear scaling."""
        range: tuple[float, float] | None = None
        """The values of black and white in floating-point images: [0, 1] or [-1, 1]. Not for uint8."""
        channels: Literal["first", "last"] | None = None
        """Which axis of four has the channels; None finds it: it has length 1 or 3, or is shorter than both sides."""
        test_fraction: float = Field(default=0.1, ge=0, lt=1)
        """The share of images held out for `test`."""

        @field_validator("range")
        @classmethod
        def _known_range(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
            if value is not None and value not in _RANGES:
                raise ValueError(f"{list(value)} is not a range of images; possible: [0, 1] and [-1, 1]")
            return value

    def load(self, split: str) -> ImageSet:
        """Read the split `train` or `test`.

        Raises:
            DataError: there is no such split; the file is missing, not an .npz, truncated, pickled, or without
                `images`; its arrays have a wrong dtype, shape or range; a caption is empty; or nothing is left for the
                split.
        """
        check_split(self.name, split)
        path = self._file()
        archive = read_archive(path, "labels", "classes", "captions", channels=self.config.channels)
        levels = array_to_uint8(archive.images, f"{path}: '{archive.name}'", self.config.range)
        images = fit_images(check_levels(levels, str(path)), self.config.size, self.config.how)
        labels, classes = _labels(archive.others, path, len(images))
        captions = _captions(archive.others, path, len(images))
        whole = check_images(ImageSet(images, labels, classes, captions), str(path))
        return hold_out(whole, split, fraction=self.config.test_fraction, name=str(path))

    def files_hash(self) -> str:
        """A hash of the file's content.

        Raises:
            DataError: the file is missing or cannot be read.
        """
        return hash_file(self._file())

    def _file(self) -> Path:
        path: Path = self.config.path
        if not path.exists():
            raise DataError(f"data set 'arrays': path = {path} does not exist; give an .npz file with 'images'")
        return path


def _labels(content: dict[str, Any], path: Path, n: int) -> tuple[torch.Tensor, tuple[str, ...]]:
    """The labels, int64 [n], and the class names; numbers serve as names where the archive has none.

    Raises:
        DataError: class names that are not strings, or labels that are not integers or far too large.
    """
    names = content.get("classes")
    if names is not None and (names.ndim != 1 or names.dtype.kind != "U"):
        raise DataError(f"{path}: 'classes' is {names.dtype} {list(names.shape)}; a list of strings is needed")
    classes = tuple(str(one) for one in names) if names is not None else ()
    labels = content.get("labels")
    if labels is None:
        return torch.zeros(n, dtype=torch.int64), ()
    if labels.dtype.kind not in "iu":
        raise DataError(f"{path}: 'labels' is {labels.dtype}; integers from 0 are needed")
    if names is None and labels.size:
        if labels.max() >= MOST_UNNAMED_CLASSES:
            raise DataError(f"{path}: 'labels' runs up to {labels.max()}; number the classes from 0, or give 'classes'")
        classes = tuple(str(label) for label in range(int(labels.max()) + 1))
    return torch.from_numpy(labels.astype(np.int64)), classes


def _captions(content: dict[str, Any], path: Path, n: int) -> tuple[tuple[str, ...], ...]:
    """The captions of each image, without space at their ends; none where the archive has none.

    Raises:
        DataError: they are no strings, or not [n] or [n, k].
    """
    texts = content.get("captions")
    if texts is None:
        return ()
    if texts.dtype.kind != "U":
        raise DataError(
            f"{path}: 'captions' is {texts.dtype}; strings are needed, saved as numpy.array(captions, dtype=str)"
        )
    if texts.ndim not in (1, 2) or len(texts) != n or not texts.size:
        raise DataError(
            f"{path}: 'captions' has shape {list(texts.shape)} for {n} images; [{n}], or [{n}, k] for k captions an "
            "image, is needed"
        )
    return tuple(tuple(text.strip() for text in some) for some in texts.reshape(n, -1).tolist())
