"""Images in NumPy archives: reading, the order of their axes, and their values as bytes."""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from genprior.data.room import check_room
from genprior.errors import DataError

__all__ = ["Archive", "array_images", "array_to_uint8", "read_archive"]


_LONGEST_HEADER = 65_535
_MAGIC = b"\x93NUMPY"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
"""How an archive begins, and one without files. NumPy takes whatever begins otherwise for pickled objects."""
_SHOWN = 24
"""Bytes of another file that a message shows."""
_OF_HEADERS = (TypeError, KeyError, OverflowError, RecursionError, MemoryError, struct.error, tokenize.TokenError)
"""What NumPy raises, beside `ValueError`, for the header of an array that is no header."""


class Archive(NamedTuple):
    """What was read of an .npz."""

    images: np.ndarray
    """[n, c, h, w] with n of at least 1, in the dtype of the file."""
    name: str
    """The name of the array of images in the file."""
    others: dict[str, np.ndarray]
    """The other requested arrays that the file has."""


def read_archive(path: Path, *others: str, channels: Literal["first", "last"] | None = None) -> Archive:
    """The images of an .npz, from its array `images`, `arr_0` or its only array, and other arrays by name.

    Images may be [n, h, w], [n, h, w, c] or [n, c, h, w]. The axis of channels is the one of length 1 or 3; if there is
    none, the one that is shorter than both sides. Pickled content is never read, so a foreign file cannot run code, and
    memory is asked for only where an array has the size that its header says.

    Args:
        path: the .npz.
        others: names of other arrays to read.
        channels: which axis of [n, ..., ..., ...] has the channels, where it cannot be told from the lengths.

    Raises:
        DataError: the file is missing, no .npz, truncated or pickled; it has no array of images; these have another
            shape, or one that is channels-first as well as channels-last; or an array is larger than its header says
            or than half of the memory of this machine.
    """
    try:
        # Opened here, because numpy leaves its own handle open when the archive is broken.
        with path.open("rb") as file:
            begin = file.read(_SHOWN)
            if begin.startswith(_MAGIC):
                raise DataError(f"{path}: it holds a single array; save it with numpy.savez(path, images=...)")
            if begin and not begin.startswith(_ZIP):
                raise DataError(
                    f"{path}: it is no .npz of plain arrays: it begins with {ascii(begin)[1:]}, and an .npz is a zip "
                    "archive; read the file with a tool of its format, and save its images with "
                    "numpy.savez(path, images=...)"
                )
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            names = list(archive.files)
            name = next((key for key in ("images", "arr_0") if key in names), names[0] if len(names) == 1 else "")
            if not name:
                raise DataError(f"{path}: it has no array 'images' or 'arr_0'; it has {', '.join(names) or 'nothing'}")
            read = {key: _array(archive, key, path) for key in (name, *others) if key in names}
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"there is no file {path}; give an .npz with an array 'images'") from None
    except (ValueError, *_OF_HEADERS) as problem:
        raise DataError(
            f"{path}: it is no .npz of plain arrays ({problem}); save it with numpy.savez, without Python objects, and "
            "texts as numpy.array(texts, dtype=str)"
        ) from problem
    except Exception as problem:  # a broken file makes zipfile, zlib and the tokeniser of headers raise many kinds
        reason = str(problem) or type(problem).__name__
        raise DataError(f"{path}: it cannot be read ({reason}); is it a whole .npz file?") from problem
    return Archive(_channels_first(read.pop(name), f"{path}: '{name}'", channels), name, read)


def _array(archive: np.lib.npyio.NpzFile, key: str, path: Path) -> np.ndarray:
    """An array, after its header has been compared with the size of the file that is packed.

    Raises:
        ValueError: it holds objects, or its header is damaged or says another size.
        DataError: it takes more than half of the memory of this machine.
    """
    try:
        packed = cast(zipfile.ZipFile, archive.zip)  # until it is closed
        info = packed.getinfo(key if key in packed.namelist() else f"{key}.npy")
        with packed.open(info) as member:
            shape, dtype = _header(member)
            there = info.file_size - member.tell()
        size = math.prod(shape) * dtype.itemsize
        if dtype.hasobject:  # NumPy's own message says how to load them, which lets a file run any code
            raise ValueError("it holds Python objects, which are pickled and never read")
        if min(shape, default=0) < 0 or size != there:
            raise ValueError(
                f"its header says {list(shape)} of {dtype}, which is {size:,} bytes, and {there:,} are there"
            )
        check_room(size, f"{path}: '{key}'")
        array: np.ndarray = archive[key]
    except (ValueError, *_OF_HEADERS) as problem:
        raise ValueError(f"'{key}': {problem or type(problem).__name__}") from problem
    return array


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of an array in NumPy's format."""
    first = np.lib.format.read_magic(member) == (1, 0)
    stated = member.read(2 if first else 4)
    length = int.from_bytes(stated, "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header has {length:,} bytes")
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(io.BytesIO(stated + member.read(length)))
    return shape, dtype


def _channels_first(images: np.ndarray, what: str, channels: Literal["first", "last"] | None) -> np.ndarray:
    """View [n, h, w], [n, h, w, c] or [n, c, h, w] as [n, c, h, w].

    Raises:
        DataError: the shape is none of these or ambiguous, or there are no images.
    """
    shape = list(images.shape)
    possible = "[n, h, w], [n, h, w, c] and [n, c, h, w] are possible"
    if images.ndim not in (3, 4):
        raise DataError(f"{what} has shape {shape}; {possible}")
    if 0 in shape:
        raise DataError(f"{what} has shape {shape}, so there are no images in it; at least one is needed")
    if images.ndim == 3:
        if shape[2] in (1, 3) or shape[0] == 3:
            raise DataError(
                f"{what} has shape {shape}, which could be one image or {shape[0]} grey images; save one image as "
                f"images[None], grey images as images[:, None]"
            )
        return images[:, None]
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if not (first or last):
        first, last = shape[1] < min(shape[2:]), shape[3] < min(shape[1:3])
    if channels is not None:
        first, last = channels == "first", channels == "last"
    if first == last:
        why = "could be channels-first or channels-last" if first else "has no axis that must be the channels"
        raise DataError(
            f'{what} has shape {shape}, which {why}; {possible}, and channels = "first" or "last" says which'
        )
    return images if first else np.moveaxis(images, 3, 1)


def array_to_uint8(images: np.ndarray, what: str, bounds: tuple[float, float] | None = None) -> Tensor:
    """The images of an archive as bytes, uint8 of the same shape.

    Args:
        images: uint8, which is used as it is; bool, which is black and white; or floating point.
        what: the place of the images, for messages.
        bounds: the values of black and white in floating-point images. Values that lie outside by rounding only are
            taken for black and white.

    Raises:
        DataError: another dtype, floating point without `bounds`, other images with them, or values outside them.
    """
    if images.dtype == np.uint8 or images.dtype == np.bool_:
        if bounds is not None:
            raise DataError(f"{what} is {images.dtype}, but range is for floating point; leave the range out")
        levels = images * np.uint8(255) if images.dtype == np.bool_ else images
        return torch.from_numpy(np.ascontiguousarray(levels))
    if not np.issubdtype(images.dtype, np.floating):
        raise DataError(f"{what} is {images.dtype}; uint8 or floating point with a range is needed")
    if bounds is None:
        raise DataError(f"{what} is {images.dtype}; set range to the values of black and white, [0, 1] or [-1, 1]")
    low, high = float(images.min()), float(images.max())
    # A network's output in half precision is off by its spacing at 1; this is far less than half a level of 255.
    rounding = max(1e-4, float(np.finfo(images.dtype).eps))
    # Written so that NaN, for which every comparison is false, is refused.
    if not (bounds[0] - rounding <= low and high <= bounds[1] + rounding):
        raise DataError(
            f"{what} runs from {low:.9g} to {high:.9g}, but range = {[int(b) for b in bounds]}; "
            "correct the range or the file"
        )
    scaled = (images - bounds[0]) * (255 / (bounds[1] - bounds[0]))
    return torch.from_numpy(np.ascontiguousarray(np.rint(scaled.clip(0, 255))).astype(np.uint8))


def array_images(images: np.ndarray, what: str, bounds: tuple[float, float] | None = None) -> Tensor:
    """The images of an array in memory, refused as those of an archive are: uint8 [n, c, h, w].

    Args:
        images: [n, h, w], [n, h, w, c] or [n, c, h, w] in uint8, bool or floating point.
        what: the place of the images, for messages.
        bounds: the values of black and white in floating-point images.

    Raises:
        DataError: their shape, dtype or range is another one.
    """
    return array_to_uint8(_channels_first(images, what, None), what, bounds)
