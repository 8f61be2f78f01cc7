"""Picture files: the ones in a folder, what is left out there, and their pixels as bytes."""

from __future__ import annotations

import collections
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from genprior.errors import DataError

__all__ = ["PICTURE_KINDS", "PictureFiles", "is_grey", "list_pictures", "named", "open_image", "open_picture"]

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
PICTURE_KINDS = ", ".join(suffix[1:] for suffix in _SUFFIXES)
"""The endings of picture files, for messages."""

_NAMED_AT_MOST = 5
_GREY, _COLOUR = ("1", "L", "LA"), ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_GREY_OF_16_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_BITS_PER_SAMPLE = 258  # the tag of TIFF files
_OPENING = threading.Lock()


# ---------------------------------------------------------------------------------------------------------------------
# Which files
# ---------------------------------------------------------------------------------------------------------------------


@dataclass
class PictureFiles:
    """The pictures in a folder and its sub-folders, and counts of what is left out."""

    folder: Path
    files: list[Path] = field(default_factory=list)
    """Sorted by path."""
    hidden: int = 0
    """Hidden files and folders; what hidden folders hold is not counted."""
    others: collections.Counter[str] = field(default_factory=collections.Counter)
    """Files of other kinds, by ending."""
    circles: int = 0
    """Links to a folder above them, which would be read without end."""
    broken: list[Path] = field(default_factory=list)
    """Links to nothing."""

    @property
    def left_out(self) -> str:
        """What is left out, in words; empty if nothing is."""
        others = sum(self.others.values())
        kinds = named([suffix or "no ending" for suffix, _ in self.others.most_common()])
        counts = [
            (self.hidden, "hidden file or folder", "hidden files or folders", ""),
            (others, "other file", "other files", f" ({kinds})"),
            (self.circles, "link to a folder above it", "links to folders above them", ""),
        ]
        return ", ".join(f"{n:,} {one if n == 1 else many}{more}" for n, one, many, more in counts if n)


def list_pictures(folder: Path) -> PictureFiles:
    """The picture files in a folder and its sub-folders; links are followed, hidden files and folders are left out.

    Raises:
        DataError: a folder cannot be listed, or links lead to nothing.
    """
    found = PictureFiles(folder)
    _walk(folder, frozenset(), found)
    if found.broken:
        what = "a link leads" if len(found.broken) == 1 else f"{len(found.broken):,} links lead"
        raise DataError(f"{folder}: {what} to nothing: {named(found.broken)}; repair or remove them")
    found.files.sort(key=str)
    return found


def _walk(folder: Path, above: frozenset[Path], found: PictureFiles) -> None:
    real = folder.resolve()
    if real in above:
        found.circles += 1
        return
    try:
        entries = sorted(folder.iterdir())
        for entry in entries:
            suffix = entry.suffix.lower()
            if entry.name.startswith("."):
                found.hidden += 1
            elif entry.is_dir():
                _walk(entry, above | {real}, found)
            elif not entry.exists():
                found.broken.append(entry)
            elif suffix in _SUFFIXES and entry.is_file():
                found.files.append(entry)
            else:
                found.others[suffix] += 1
    except OSError as problem:
        raise DataError(
            f"{folder}: it cannot be listed ({problem.strerror or problem}); "
            "give yourself permission, or another folder"
        ) from problem


def named(things: Sequence[object]) -> str:
    """The first things of a list, and how many more there are."""
    more = len(things) - _NAMED_AT_MOST
    return ", ".join(str(thing) for thing in things[:_NAMED_AT_MOST]) + (f", and {more:,} more" if more > 0 else "")


# ---------------------------------------------------------------------------------------------------------------------
# Pixels
# ---------------------------------------------------------------------------------------------------------------------


def is_grey(image: Image.Image) -> bool:
    """Whether an opened picture is grey.

    Raises:
        ValueError: its pixels are not bytes and cannot be made bytes without a guess at their range.
    """
    if image.mode in _GREY or _has_16_bits(image):
        return True
    if image.mode in _COLOUR:
        return False
    raise ValueError(
        f"mode '{image.mode}' does not say which values are black and white; save 8 or 16 bits a channel, or an .npz "
        "for the data set 'arrays' with a range"
    )


def open_image(file: Path | BinaryIO) -> Image.Image:
    """Open a picture file and read its size; no pixels are decoded.

    Pillow warns of a picture of more than `Image.MAX_IMAGE_PIXELS`, and refuses one of twice as many without its size.

    Raises:
        ValueError: it has more pixels than that.
        Exception: Pillow's decoders raise many kinds for a file that is no picture.
    """
    with _OPENING:  # the limit is one of the process
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(file)
        except UnidentifiedImageError:  # whose text has the path, or the address of an open file
            raise ValueError("its content is of no kind of picture that is read") from None
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    width, height = image.size
    if limit is not None and width * height > limit:
        image.close()
        raise ValueError(
            f"it has {width:,} x {height:,} pixels, and at most {limit:,} are read, because a small file can hold a "
            "picture that fills the memory; make it smaller"
        )
    return image


def open_picture(file: Path | BinaryIO, mode: str, *, upright: bool = False) -> Image.Image:
    """Decode a picture file; of several frames the first.

    16 bits of grey become v / 257, rounded, which maps 0..65535 to 0..255; Pillow itself would clip them to white.

    Args:
        file: its path, or the file opened for reading bytes.
        mode: `"L"` for grey, `"RGB"` for colour.
        upright: whether to rotate the picture by its EXIF data.

    Raises:
        Exception: Pillow's decoders raise many kinds for a file that cannot be used, and `ValueError` stands for
            pixels without a known range.
    """
    with open_image(file) as image:
        is_grey(image)
        deep = _has_16_bits(image)
        turned = ImageOps.exif_transpose(image) if upright else image
        if deep:
            values = np.asarray(turned).astype(np.float64)
            turned = Image.fromarray(np.rint(values / 257).astype(np.uint8))
        return turned.convert(mode)


def _has_16_bits(image: Image.Image) -> bool:
    """Whether an opened picture is grey with values 0..65535."""
    if image.mode == "I":  # Pillow scales the levels of PGM files to 16 bits
        return image.format == "PPM"
    if image.mode not in _GREY_OF_16_BITS:
        return False
    # Pillow gives 12 bits the same mode, and leaves their levels as they are.
    return not isinstance(image, TiffImagePlugin.TiffImageFile) or image.tag_v2.get(_BITS_PER_SAMPLE) == (16,)
