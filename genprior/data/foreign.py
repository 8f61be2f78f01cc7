"""Images of other tools, scored like those of runs: a folder of picture files, or an .npz."""

from __future__ import annotations

import collections
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genprior.data.archives import array_to_uint8, read_archive
from genprior.data.images import check_levels
from genprior.data.picture_files import PICTURE_KINDS, is_grey, list_pictures, named, open_image, open_picture
from genprior.data.room import check_room
from genprior.errors import DataError
from genprior.storage.cache import content_hash

__all__ = ["Images", "image_files", "read_images"]


@dataclass(frozen=True)
class Images:
    """Decoded images and their origin."""

    path: Path
    images: Tensor
    """uint8 [n, c, h, w], in the order of the files' names."""
    left_out: str = ""
    """What is left out of a folder, in words; empty if nothing is."""

    @property
    def label(self) -> str:
        """Their label in tables: the folder's or the file's name."""
        return self.path.resolve().stem if self.path.suffix.lower() == ".npz" else self.path.resolve().name

    @cached_property
    def key(self) -> str:
        """A hash of the decoded images."""
        return content_hash(self.images)


def image_files(folder: Path) -> tuple[list[Path], str]:
    """The picture files directly in a folder, else those in its sub-folders, by path; and what is left out, in words.

    Raises:
        DataError: a folder cannot be listed, or links lead to nothing.
    """
    found = list_pictures(folder)
    direct = [file for file in found.files if file.parent == folder]
    deeper = len(found.files) - len(direct) if direct else 0
    counts = [f"{deeper:,} picture{'' if deeper == 1 else 's'} in sub-folders"] if deeper else []
    return direct or found.files, ", ".join([*counts, *([found.left_out] if found.left_out else [])])


def read_images(path: Path) -> Images:
    """Decode a folder of images, or the images of an .npz, at their own size.

    Raises:
        DataError: there are none, some cannot be read (they are counted and named), their sizes differ, or their
            values are 0 and 1.
    """
    if not path.is_dir():
        if path.suffix.lower() != ".npz":
            what = "is a file, and no .npz" if path.exists() else "does not exist"
            raise DataError(f"{path} {what}; give a folder of images ({PICTURE_KINDS}) or an .npz")
        return Images(path, check_levels(_bytes_of(path), str(path)))
    files, left_out = image_files(path)
    if not files:
        raise DataError(f"{path} is empty: it holds no images ({PICTURE_KINDS}) and no runs; give a folder that does")
    return Images(path, check_levels(_decode(files, path), str(path)), left_out)


def _decode(files: Sequence[Path], folder: Path) -> Tensor:
    """The images of the files, uint8 [n, c, h, w]: grey if all are grey, else RGB.

    Neither scaled nor rotated by EXIF data, so that torch-fidelity reads the same images from these files (of 8 bits).
    """
    with ThreadPoolExecutor() as pool:
        heads = list(pool.map(_head, files))
        sizes = collections.Counter(size for size, _, problem in heads if not problem)
        broken = {file: problem for file, (*_, problem) in zip(files, heads, strict=True) if problem}
        grey = all(grey for _, grey, problem in heads if not problem)
        (width, height), _ = sizes.most_common(1)[0] if sizes else ((1, 1), 0)
        shape = (len(files), height, width, 1 if grey else 3)
        check_room(math.prod(shape), f"{folder}: {len(files):,} images of {width:,} x {height:,} pixels")
        out = np.empty(shape, np.uint8)

        def decode(place: int) -> str:
            try:
                pixels = np.asarray(open_picture(files[place], "L" if grey else "RGB"))
            # Pillow's decoders raise many kinds of errors for a broken file; all mean that it cannot be used.
            except Exception as problem:
                return str(problem) or type(problem).__name__
            if pixels.shape[:2] == (height, width):
                out[place] = pixels.reshape(height, width, -1)
            return ""

        readable = [place for place, file in enumerate(files) if file not in broken]
        for place, problem in zip(readable, pool.map(decode, readable), strict=True):
            if problem:
                broken[files[place]] = problem
    if broken:
        raise DataError(
            f"{folder}: {len(broken):,} of {len(files):,} images cannot be read: "
            f"{named([f'{file} ({problem})' for file, problem in broken.items()])}; repair or remove them"
        )
    if len(sizes) > 1:
        first = {size: file for file, (size, *_) in zip(reversed(files), reversed(heads), strict=True)}
        counts = [f"{w}x{h} ({n:,}, such as {first[w, h].name})" for (w, h), n in sizes.most_common()]
        raise DataError(
            f"{folder}: its images have {len(sizes)} sizes: {named(counts)}; scores compare images of one size, so "
            "resize them to one size, or use one folder for each size"
        )
    return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()


def _head(file: Path) -> tuple[tuple[int, int], bool, str]:
    """Size (width, height) of an image file, whether it is grey, and the error that it has, if any."""
    try:
        with open_image(file) as image:
            return image.size, is_grey(image), ""
    except Exception as problem:
        return (0, 0), False, str(problem) or type(problem).__name__


def _bytes_of(path: Path) -> Tensor:
    """The images of an .npz, uint8 [n, c, h, w]."""
    images, name, _ = read_archive(path)
    if images.dtype not in (np.uint8, np.bool_):
        raise DataError(f"{path}: '{name}' is {images.dtype}; uint8 values 0..255 are needed")
    return array_to_uint8(images, f"{path}: '{name}'")
