"""A user's own images in a NumPy archive."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, field_validator

from genprior import DataError, Dataset, ImageSet, PartConfig, check_images, fit_images
from genprior_std.datasets.shared import check_split, hold_out

__all__ = ["Arrays"]

_RANGES = ((0.0, 1.0), (-1.0, 1.0))
_LABELS_WITHOUT_NAMES = 65_536


class Arrays(Dataset):
    """Images of an .npz file, made with `numpy.savez(path, images=..., labels=..., classes=...)`.

    `images` is [n, h, w], [n, h, w, c] or [n, c, h, w] with c of 1 or 3, in uint8, or in floating point with `range`
    saying what black and white are. `labels` [n] (integers from 0) and `classes` (names in label order) may be left
    out. Pickled content is never read, so a file from elsewhere cannot run code.
    """

    name = "arrays"

    class Config(PartConfig):
        """Settings of a NumPy archive."""

        path: Path
        """The .npz file; a relative one counts from where the command runs."""
        size: int | None = Field(default=32, ge=1)
        """Height and width of the images in pixels; None leaves them as they are."""
        how: Literal["pad", "resize"] = "resize"
        """How images are brought to `size`: zeros around them, or bilinear scaling."""
        range: tuple[float, float] | None = None
        """What black and white are in floating-point images: [0, 1] or [-1, 1]. Not for uint8."""
        test_fraction: float = Field(default=0.1, ge=0, lt=1)
        """The share of images held out for `test`."""
        split_seed: int = Field(default=0, ge=0, lt=2**32)
        """Which images are held out."""

        @field_validator("range")
        @classmethod
        def _known_range(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
            if value is not None and value not in _RANGES:
                raise ValueError(f"{list(value)} is no range of images; possible: [0, 1] and [-1, 1]")
            return value

    def load(self, split: str) -> ImageSet:
        """Read the split `train` or `test`.

        Raises:
            DataError: there is no such split; the file is missing, no .npz, truncated, pickled, or without `images`;
                its arrays have a wrong dtype, shape or range; or nothing is left for the split.
        """
        check_split(self.name, split)
        path = self.config.path.expanduser()
        content = _read(path)
        images = fit_images(self._images(content, path), self.config.size, self.config.how)
        labels, classes = _labels(content, path, len(images))
        whole = check_images(ImageSet(images, labels, classes), str(path))
        return hold_out(whole, split, fraction=self.config.test_fraction, seed=self.config.split_seed, name=str(path))

    def _images(self, content: dict[str, Any], path: Path) -> torch.Tensor:
        """The archive's images as uint8 [n, c, h, w]."""
        images = _channels_first(content["images"], path)
        bounds = self.config.range
        if images.dtype == np.uint8:
            if bounds is not None:
                raise DataError(f"{path}: 'images' is uint8, but range is for floating point; leave the range out")
            return torch.from_numpy(np.ascontiguousarray(images))
        if not np.issubdtype(images.dtype, np.floating):
            raise DataError(f"{path}: 'images' is {images.dtype}; uint8 or floating point with a range is needed")
        if bounds is None:
            raise DataError(f"{path}: 'images' is {images.dtype}; say with range = [0, 1] or [-1, 1] what it holds")
        low, high = float(images.min()), float(images.max())
        # Written so that a NaN, for which every comparison is false, is refused.
        if not (bounds[0] <= low and high <= bounds[1]):
            raise DataError(
                f"{path}: 'images' runs from {low:g} to {high:g}, but range = {[int(b) for b in bounds]}; "
                "correct the range or the file"
            )
        levels = (images - bounds[0]) * (255 / (bounds[1] - bounds[0]))
        return torch.from_numpy(np.ascontiguousarray(np.rint(levels)).astype(np.uint8))


def _read(path: Path) -> dict[str, Any]:
    """The arrays of an .npz file that concern us.

    Raises:
        DataError: it is missing, no .npz, truncated, pickled, or without `images`.
    """
    try:
        # Opened here, because numpy leaves its own handle open when the archive is broken.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path}: it holds a single array; save it with numpy.savez(path, images=...)")
            content = {name: archive[name] for name in ("images", "labels", "classes") if name in archive}
            held = sorted(archive.files)
    except FileNotFoundError:
        raise DataError(f"data set 'arrays': path = {path} does not exist; give an .npz file with 'images'") from None
    except ValueError as problem:
        raise DataError(
            f"{path}: it is no .npz of plain arrays ({problem}); save it with numpy.savez, without Python objects"
        ) from problem
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as problem:
        raise DataError(f"{path}: it cannot be read ({problem}); is it a whole .npz file?") from problem
    if "images" not in content:
        raise DataError(f"{path}: it has no array 'images'; it has {', '.join(held) or 'nothing'}")
    return content


def _channels_first(images: Any, path: Path) -> Any:
    """Look at [n, h, w], [n, h, w, c] or [n, c, h, w] as [n, c, h, w].

    Raises:
        DataError: none of these shapes, or more than one of them; or no images.
    """
    shape = list(images.shape)
    possible = "[n, h, w], [n, h, w, c] and [n, c, h, w] with c of 1 or 3 are possible"
    if images.ndim not in (3, 4):
        raise DataError(f"{path}: 'images' has shape {shape}; {possible}")
    if 0 in shape:
        raise DataError(f"{path}: there are no images in it ('images' has shape {shape}); at least one is needed")
    if images.ndim == 3:
        return images[:, None]
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if first == last:
        why = "could be channels-first or channels-last" if first else "has no axis of channels"
        raise DataError(f"{path}: 'images' has shape {shape}, which {why}; {possible}")
    return images if first else np.moveaxis(images, 3, 1)


def _labels(content: dict[str, Any], path: Path, n: int) -> tuple[torch.Tensor, tuple[str, ...]]:
    """The labels, int64 [n], and the class names; numbers serve as names where the archive has none.

    Raises:
        DataError: class names that are no strings, or labels that are no integers or far too large.
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
        if labels.max() >= _LABELS_WITHOUT_NAMES:
            raise DataError(f"{path}: 'labels' runs up to {labels.max()}; number the classes from 0, or give 'classes'")
        classes = tuple(str(label) for label in range(int(labels.max()) + 1))
    return torch.from_numpy(labels.astype(np.int64)), classes
