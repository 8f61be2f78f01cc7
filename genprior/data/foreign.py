"""Images of other tools, scored like those of runs: a folder of PNG or JPEG files, or an .npz."""

from __future__ import annotations

import collections
import zipfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from genprior.errors import DataError
from genprior.storage.cache import content_hash

__all__ = ["Archive", "Images", "image_files", "read_archive", "read_images"]

_SUFFIXES = (".jpeg", ".jpg", ".png")
_NAMED_AT_MOST = 5
_GREY, _COLOUR = ("1", "L", "LA"), ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")


@dataclass(frozen=True)
class Images:
    """Decoded images and their origin."""

    path: Path
    images: Tensor
    """uint8 [n, c, h, w], c 1 or 3, in the order of the files' names."""

    @property
    def label(self) -> str:
        """Their label in tables: the folder's or the file's name."""
        return self.path.resolve().stem if self.path.suffix.lower() == ".npz" else self.path.resolve().name

    @cached_property
    def key(self) -> str:
        """A hash of the decoded images."""
        return content_hash(self.images)


def image_files(folder: Path) -> list[Path]:
    """The PNG and JPEG files directly in a folder, else those in its sub-folders, by path; hidden ones are ignored."""
    for candidates in (folder.iterdir(), folder.rglob("*")):
        files = [
            path
            for path in candidates
            if path.suffix.lower() in _SUFFIXES
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
            and path.is_file()
        ]
        if files:
            return sorted(files, key=str)
    return []


def read_images(path: Path) -> Images:
    """Decode a folder of images, or the images of an .npz, at their own size.

    Raises:
        DataError: there are none, some cannot be read (they are counted and named), or their sizes differ.
    """
    if path.suffix.lower() == ".npz" and not path.is_dir():
        return Images(path, _bytes_of(path))
    files = image_files(path)
    if not files:
        raise DataError(f"{path} is empty: it holds no images (PNG or JPEG) and no runs; give a folder that does")
    return Images(path, _decode(files, path))


def _decode(files: Sequence[Path], folder: Path) -> Tensor:
    """The images of the files, uint8 [n, c, h, w]: grey if all are grey, else RGB.

    Neither scaled nor rotated by EXIF data, so that torch-fidelity reads the same images from these files.
    """
    with ThreadPoolExecutor() as pool:
        heads = list(pool.map(_head, files))
        sizes = collections.Counter(size for size, _, problem in heads if not problem)
        broken = {file: problem for file, (*_, problem) in zip(files, heads, strict=True) if problem}
        grey = all(mode in _GREY for _, mode, problem in heads if not problem)
        (width, height), _ = sizes.most_common(1)[0] if sizes else ((1, 1), 0)
        out = np.empty((len(files), height, width, 1 if grey else 3), np.uint8)

        def decode(place: int) -> str:
            try:
                with Image.open(files[place]) as image:
                    pixels = np.asarray(image.convert("L" if grey else "RGB"))
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
            f"{_listed([f'{file} ({problem})' for file, problem in broken.items()])}; repair or remove them"
        )
    if len(sizes) > 1:
        first = {size: file for file, (size, *_) in zip(reversed(files), reversed(heads), strict=True)}
        counts = [f"{w}x{h} ({n:,}, such as {first[w, h].name})" for (w, h), n in sizes.most_common()]
        raise DataError(
            f"{folder}: its images have {len(sizes)} sizes: {_listed(counts)}; scores compare images of one size, so "
            "resize them to one size, or use one folder for each size"
        )
    return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()


def _head(file: Path) -> tuple[tuple[int, int], str, str]:
    """Size (width, height) and mode of an image file, and the error that it has, if any."""
    try:
        with Image.open(file) as image:
            if image.mode not in (*_GREY, *_COLOUR):
                return (0, 0), "", f"mode '{image.mode}' has no 8 bits a channel"
            return image.size, image.mode, ""
    except Exception as problem:
        return (0, 0), "", str(problem) or type(problem).__name__


def _listed(texts: Sequence[str]) -> str:
    more = len(texts) - _NAMED_AT_MOST
    return ", ".join(texts[:_NAMED_AT_MOST]) + (f", and {more:,} more" if more > 0 else "")


class Archive(NamedTuple):
    """What was read of an .npz."""

    images: np.ndarray
    """[n, c, h, w] with n of at least 1 and c of 1 or 3, in the dtype of the file."""
    name: str
    """The name of the array of images in the file."""
    others: dict[str, np.ndarray]
    """The other requested arrays that the file has."""


def read_archive(path: Path, *others: str) -> Archive:
    """The images of an .npz, from its array `images`, `arr_0` or its only array, and other arrays by name.

    Images may be [n, h, w], [n, h, w, c] or [n, c, h, w]. Pickled content is never read, so a foreign file
    cannot run code.

    Raises:
        DataError: the file is missing, no .npz, truncated or pickled; it has no array of images; or these have another
            shape, or one that is channels-first as well as channels-last.
    """
    try:
        # Opened here, because numpy leaves its own handle open when the archive is broken.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path}: it holds a single array; save it with numpy.savez(path, images=...)")
            names = list(archive.files)
            name = next((key for key in ("images", "arr_0") if key in names), names[0] if len(names) == 1 else "")
            if not name:
                raise DataError(f"{path}: it has no array 'images' or 'arr_0'; it has {', '.join(names) or 'nothing'}")
            images = archive[name]
            extra = {key: archive[key] for key in others if key in names}
    except FileNotFoundError:
        raise DataError(f"there is no file {path}; give an .npz with an array 'images'") from None
    except ValueError as problem:
        raise DataError(
            f"{path}: it is no .npz of plain arrays ({problem}); save it with numpy.savez, without Python objects"
        ) from problem
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as problem:
        raise DataError(f"{path}: it cannot be read ({problem}); is it a whole .npz file?") from problem
    return Archive(_channels_first(images, f"{path}: '{name}'"), name, extra)


def _channels_first(images: np.ndarray, what: str) -> np.ndarray:
    """View [n, h, w], [n, h, w, c] or [n, c, h, w] as [n, c, h, w].

    Raises:
        DataError: the shape is none of these or ambiguous, or there are no images.
    """
    shape = list(images.shape)
    possible = "[n, h, w], [n, h, w, c] and [n, c, h, w] with c of 1 or 3 are possible"
    if images.ndim not in (3, 4):
        raise DataError(f"{what} has shape {shape}; {possible}")
    if 0 in shape:
        raise DataError(f"{what} has shape {shape}, so there are no images in it; at least one is needed")
    if images.ndim == 3:
        return images[:, None]
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if first == last:
        why = "could be channels-first or channels-last" if first else "has no axis of channels"
        raise DataError(f"{what} has shape {shape}, which {why}; {possible}")
    return images if first else np.moveaxis(images, 3, 1)


def _bytes_of(path: Path) -> Tensor:
    """The images of an .npz, uint8 [n, c, h, w]."""
    images, name, _ = read_archive(path)
    if images.dtype != np.uint8:
        raise DataError(f"{path}: '{name}' is {images.dtype}; uint8 values 0..255 are needed")
    return torch.from_numpy(np.ascontiguousarray(images))
