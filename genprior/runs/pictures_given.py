"""Images that the user passes to a trained model: their checks, and their values as networks see them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from genprior.data.images import images_to_float
from genprior.errors import DataError

__all__ = ["Pictures", "checked_pictures", "scaled"]

Pictures = Tensor | np.ndarray
"""Images in a form that `genprior.in_memory` takes: [n, c, h, w], [n, h, w, c], or grey [n, h, w]; uint8, as
`Run.sample` returns them, bool, or floating point with `range`."""

_RANGES = ((0, 1), (-1, 1))


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
    x = torch.as_tensor(images)
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
    if bounds is None or tuple(bounds) not in _RANGES:
        given = "" if bounds is None else f", not {bounds!r}"
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
