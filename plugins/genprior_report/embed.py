"""Pictures as data URIs, so that a page needs no other file."""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from genprior import printable

__all__ = ["picture_file", "sheet", "strip"]

_LARGE = 100_000
"""Bytes from which a picture is stored with losses, which the eye does not see."""
_SHEET = 20
"""Images in a line of a sheet."""
_THUMBNAIL = 32
"""The longest side of an image of a sheet in pixels."""


def _uri(image: Image.Image, *, lossless: bool) -> str:
    """A data URI of WebP, which all browsers read that read the rest of the page."""
    out = io.BytesIO()
    image.save(out, "WEBP", lossless=lossless, quality=80, method=4)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def picture_file(path: Path) -> tuple[str, int, int]:
    """A picture on disk as a data URI, its width and its height.

    Raises:
        OSError: it cannot be read, or is damaged.
    """
    size = path.stat().st_size
    try:
        with Image.open(path) as image:
            shown = image.convert("RGB")
    except (ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise OSError(f"{path} is damaged: {error}") from error
    return _uri(shown, lossless=size < _LARGE), shown.width, shown.height


def _as_images(images: Tensor) -> list[Image.Image]:
    pixels = printable(images).permute(0, 2, 3, 1).contiguous().numpy()
    return [Image.fromarray(each.squeeze(2) if each.shape[2] == 1 else each).convert("RGB") for each in pixels]


def strip(images: Tensor) -> str:
    """Images uint8 [n, c, h, w] in one line, as a data URI."""
    joined = torch.cat(list(printable(images)), dim=2)[None]
    return _uri(_as_images(joined)[0], lossless=True)


def sheet(images: Tensor) -> dict[str, object]:
    """Small images for a page that shows one of them at a time: one picture, and where each image is in it.

    Args:
        images: uint8 [n, c, h, w], at least one.

    Returns:
        `src` (a data URI), `columns`, `rows`, `width` and `height` of an image.
    """
    shown = _as_images(images)
    scale = min(1.0, _THUMBNAIL / max(shown[0].size))
    width, height = (max(1, round(side * scale)) for side in shown[0].size)
    rows = math.ceil(len(shown) / _SHEET)
    whole = np.zeros((rows * height, _SHEET * width, 3), dtype=np.uint8)
    for number, image in enumerate(shown):
        row, column = divmod(number, _SHEET)
        small = image if scale == 1.0 else image.resize((width, height), Image.Resampling.LANCZOS)
        whole[row * height : (row + 1) * height, column * width : (column + 1) * width] = np.asarray(small)
    large = whole.size > 300 * 16 * 16 * 3
    return {
        "src": _uri(Image.fromarray(whole), lossless=not large),
        "columns": _SHEET,
        "rows": rows,
        "width": width,
        "height": height,
    }
