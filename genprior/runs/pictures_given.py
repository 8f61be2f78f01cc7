"""What the user passes to a trained model: images, labels and codes, their checks, and values as networks see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genprior.data.given import RANGES, given_tensor, pair_of_numbers
from genprior.data.images import images_to_float
from genprior.errors import DataError, PlanError, shown

__all__ = ["Pictures", "checked_pictures", "given_codes", "label_numbers", "plain_label", "scaled"]

Pictures = Tensor | np.ndarray
"""Images in a form that `genprior.in_memory` takes: [n, c, h, w], [n, h, w, c], or grey [n, h, w]; uint8, as
`Run.sample` returns them, bool, or floating point with `range`."""


def checked_pictures(images: Pictures, shape: tuple[int, int, int], bounds: tuple[float, float] | None) -> Tensor:
    """The images as a tensor [n, c, h, w], if their shape, dtype and range are right.

    Args:
        images: n images.
        shape: (c, h, w) of the images that the model was trained on.
        bounds: the values of black and white of floating-point images.

    Raises:
        DataError: says what is possible.
    """
    c, h, w = shape
    forms = f"[n, {h}, {w}, {c}]" + (f" and [n, {h}, {w}]" if c == 1 else "")
    needed = f"this run's images are [n, {c}, {h}, {w}]"
    if not isinstance(images, Tensor | np.ndarray):
        raise DataError(f"images are a {type(images).__name__}; give a tensor or NumPy array: {needed}")
    x = given_tensor(images, "images are")
    if x.dtype == torch.bool:
        x = x.to(torch.uint8) * 255
    if tuple(x.shape) != shape:  # one image, refused below
        x = _channels_first(x, shape)
    if x.ndim != 4 or tuple(x.shape[1:]) != shape or not len(x):
        single = "; one image is images[None]" if tuple(x.shape) == shape else ""
        raise DataError(
            f"images have shape {list(x.shape)}, but {needed}, n at least 1{single}; also possible: {forms}"
        )
    kind = str(x.dtype).removeprefix("torch.")
    if x.dtype == torch.uint8:
        if bounds is not None:
            raise DataError("images are uint8, but range is for floating point; leave the range out")
        return x
    if not x.is_floating_point():
        raise DataError(f"images are {kind}; uint8, or floating point with a range, is needed")
    if bounds is None or pair_of_numbers(bounds) not in RANGES:
        given = "" if bounds is None else f", not {shown(bounds)}"
        raise DataError(
            f"images are {kind}; set range to the values of black and white, range=(0, 1) or range=(-1, 1){given}"
        )
    low, high = float(x.min()), float(x.max())
    # As in `array_to_uint8`: a network's output in half precision is off by its spacing at 1.
    rounding = max(1e-4, torch.finfo(x.dtype).eps)
    # Written so that NaN, for which every comparison is false, is refused.
    if not (bounds[0] - rounding <= low and high <= bounds[1] + rounding):
        raise DataError(f"images run from {low:.9g} to {high:.9g}, but range = {tuple(bounds)}; correct the range")
    return x


def _channels_first(x: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """View [n, h, w] of grey images, or [n, h, w, c], as [n, c, h, w]; others as they are."""
    c, h, w = shape
    given = tuple(x.shape[1:])
    if given == (h, w) and c == 1:
        return x[:, None]
    return x.permute(0, 3, 1, 2) if given == (h, w, c) and given != shape else x


def scaled(x: Tensor, bounds: tuple[float, float] | None) -> Tensor:
    """Checked images in [-1, 1], float32."""
    if bounds is None:
        return images_to_float(x)
    low, high = bounds
    return ((x.float() - low) * (2 / (high - low)) - 1).clamp_(-1, 1)


def given_codes(codes: Any) -> Tensor:
    """Codes as a tensor, whose shape and dtype are still to be checked.

    Raises:
        PlanError: they are no tensor or array of numbers.
    """
    if isinstance(codes, Tensor):
        return given_tensor(codes, "codes are", PlanError)
    try:
        array = np.asarray(codes)
    except (TypeError, ValueError, RuntimeError):
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "bufi":
        raise PlanError(f"codes = {shown(codes)} are no array of numbers; give a tensor or NumPy array [n, d]")
    return given_tensor(array, "codes are", PlanError)


def label_numbers(label: Any, n: int, index_of: Callable[[Any], int]) -> Tensor | None:
    """The indices int64 [n] of classes that were given for all images or for each; None without any.

    Args:
        label: a class by its name or index, or n of them.
        n: the number of images.
        index_of: the index of a class.

    Raises:
        PlanError: a class does not exist, or there are not n of them.
    """
    label = plain_label(label)
    if label is None:
        return None
    if isinstance(label, str | int):
        return torch.full((n,), index_of(label), dtype=torch.int64)
    try:
        each_label = [plain_label(each) for each in label]
    except (TypeError, RuntimeError):
        each_label = [label]
    # `Tensor`s and arrays of several numbers, as the rows of a table are, name no class.
    if not all(isinstance(each, str | int) for each in each_label):
        raise PlanError(
            f"label = {shown(label)} is no class; give a class's name or its index as a whole number, or a sequence of "
            "one for each image"
        )
    indices = torch.tensor([index_of(each) for each in each_label], dtype=torch.int64)
    if len(indices) != n:
        raise PlanError(f"{len(indices)} labels were given for {n} images; give one for all, or one for each")
    return indices


def plain_label(label: Any) -> Any:
    """A label of a tensor or array of one number, without dimensions, as a number of Python; others as they are."""
    single = isinstance(label, Tensor | np.ndarray | np.generic) and label.ndim == 0
    return label.item() if single else label
