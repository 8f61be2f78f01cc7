"""`genprior.in_memory`: tensors, arrays and torch data sets as the data of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from torch import Tensor

from genprior.data.given import RANGES, pair_of_numbers
from genprior.data.images import fit_images
from genprior.data.in_memory import Indexed, MemoryDataset, divide, keep_images, read_images_of, same_form
from genprior.errors import DataError, PluginError, shown, whole_number
from genprior.parts import ImageSet, PartConfig
from genprior.registry import Registry, installed

__all__ = ["Images", "as_data", "in_memory"]

Images = Tensor | np.ndarray | tuple[Tensor | np.ndarray, Any] | ImageSet | Indexed | PartConfig
"""What images may be passed as: an array or tensor, a pair (images, labels), an image set, or a torch data set;
also the settings that `in_memory` returns."""


def in_memory(
    train: Images,
    *,
    test: Images | None = None,
    validation: Images | None = None,
    labels: Tensor | np.ndarray | Sequence[int] | None = None,
    classes: Sequence[str] | None = None,
    range: tuple[float, float] | None = None,  # noqa: A002 - the setting of the same name
    size: int | None = None,
    how: Literal["pad", "resize"] = "resize",
    test_fraction: float = 0.1,
    registry: Registry | None = None,
) -> PartConfig:
    """Images of this process as the data of a recipe: `{"data": genprior.in_memory(images), ...}`.

    They stay in memory until the process ends. A recipe and a run folder have only the hash of their content, so a run
    on other images is not resumed, and another process must pass the same images again where it needs them.

    Args:
        train: uint8 [n, c, h, w], [n, h, w, c] or [n, h, w], where c is 1 or 3, or less than h and w; bool (black and
            white); floating point with `range`; a pair (images, labels); or a `torch.utils.data.Dataset` of images or
            of such pairs, which is read once, so a random transform is drawn once.
        test: held-out images for scores; by default a share of `train`, chosen by a fixed permutation.
        validation: further held-out images, for scores that need them.
        labels: of `train`, integers from 0, below 65,536 without `classes`.
        classes: class names in label order; the numbers by default.
        range: the values of black and white in floating-point images, (0, 1) or (-1, 1).
        size: height and width to which all images are fitted; they stay as they are by default.
        how: by zero padding, or bilinear scaling.
        test_fraction: the share of `train` that is held out where `test` is not given.
        registry: the registry of parts; the installed parts by default.

    Raises:
        DataError: shape, dtype, range or labels are not those of images; the message says what is possible.
    """
    bounds = pair_of_numbers(range)
    if range is not None and bounds not in RANGES:
        raise DataError(f"range = {shown(range)} is not a range of images; possible: (0, 1) and (-1, 1)")
    if how not in ("pad", "resize"):
        raise DataError(f'how = {shown(how)} fits no images; possible: "pad" and "resize"')
    side = None if size is None else whole_number(size, "size", DataError, least=1)

    def read(given: Images, split: str, own: Any = None, names: Sequence[str] | None = classes) -> ImageSet:
        images = read_images_of(given, f"'{split}'", labels=own, classes=names, bounds=_bounds(given, bounds))
        return images._replace(images=fit_images(images.images, side, how))

    whole = read(train, "train", labels)
    # The classes of a split are those of the training images, also where the split has not all of them.
    names = classes if classes is not None or isinstance(test, ImageSet) else whole.classes or None
    splits = {"train": whole}
    if test is not None:
        splits["test"] = read(test, "test", names=names)
    else:
        splits["train"], splits["test"] = divide(whole, test_fraction)
    if validation is not None:
        kept = None if isinstance(validation, ImageSet) else whole.classes or None
        splits["validation"] = read(validation, "validation", names=kept)
    same_form(splits.items())
    return _part(registry or installed()).Config(content_hash=keep_images(splits))


def as_data(given: Images) -> PartConfig:
    """The settings of a data set: those of `in_memory` for images, and settings as they are."""
    return given if isinstance(given, PartConfig) else in_memory(given)


def _bounds(given: Images, bounds: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if isinstance(given, ImageSet) else bounds


def _part(registry: Registry) -> type[MemoryDataset]:
    """The data set that holds images in memory.

    Raises:
        PluginError: none is installed.
    """
    for part in registry.all():
        if issubclass(part, MemoryDataset):
            return part
    raise PluginError("no installed plugin has a data set for images in memory; reinstall genprior")
