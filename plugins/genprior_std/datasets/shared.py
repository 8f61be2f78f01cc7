"""Helpers of data sets: split names, the held-out part of an undivided set, lists in messages, and decoding."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from genprior import DataError, ImageSet, check_room, did_you_mean, open_picture

__all__ = [
    "MOST_UNNAMED_CLASSES",
    "check_split",
    "decode",
    "decode_one",
    "file_state",
    "hold_out",
    "name_some",
    "size_and_time",
    "size_facts",
    "streaming_error",
]

_NAMED_AT_MOST = 5
MOST_UNNAMED_CLASSES = 65_536
"""The most classes that are called by their numbers; a larger label is an identifier of something else."""
SPLIT_SEED = 0
"""Seed of the permutation that chooses the held-out images; fixed, so that a set has only one split."""


def check_split(name: str, split: str, possible: Sequence[str] = ("train", "test")) -> None:
    """Refuse a split that a data set does not have.

    Raises:
        DataError: `split` is not in `possible`.
    """
    if split not in possible:
        raise DataError(f"data set '{name}' has no split '{split}'{did_you_mean(split, possible)}")


def size_facts(side: int, size: int | None, how: str) -> dict[str, Any]:
    """The facts of square images that `fit_images` brings to `size`, see `genprior.Dataset.facts`.

    Args:
        side: height and width of the images as they are.
        size: the requested height and width; None keeps those of the images.
        how: `pad` or `resize`.
    """
    if size is None or size == side:
        return {"size": side, "framing": "original"}
    return {"size": size, "framing": "padded" if how == "pad" else "resized"}


def file_state(file: Path) -> tuple[int, int]:
    """Size and time of modification of a file, from which it is seen to have changed.

    Raises:
        DataError: there is no such file, or it cannot be looked at.
    """
    try:
        return size_and_time(file)
    except OSError as problem:
        raise DataError(f"{file}: it cannot be read ({problem.strerror or problem}); repair or remove it") from problem


def size_and_time(file: Path) -> tuple[int, int]:
    """What `file_state` returns.

    Raises:
        OSError: there is no such file, or it cannot be looked at.
    """
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def streaming_error(what: str, problem: Exception) -> DataError:
    """The error of a picture that cannot be decoded when it is used.

    Args:
        what: the picture.
        problem: what the system or Pillow raised; Pillow's errors have no number.
    """
    if isinstance(problem, OSError) and problem.errno is not None:
        return DataError(
            f"{what} cannot be read ({problem.strerror or problem}); restore it to resume, or begin a new run without "
            "it"
        )
    return DataError(
        f"{what} cannot be read ({problem or type(problem).__name__}); repair or remove it. Its content is part of the "
        "hash of the images, so a run that has begun on it has to begin anew"
    )


def hold_out(whole: ImageSet, split: str, *, fraction: float, name: str) -> ImageSet:
    """Divide an undivided set into `train` and `test` by a fixed permutation.

    `test` gets round(n fraction) images, at least one where `fraction` > 0; both splits keep the set's order.

    Args:
        whole: the undivided set of n images.
        split: `train` or `test`.
        fraction: the share of `test`, in [0, 1).
        name: the data set, for messages.

    Returns:
        The requested split.

    Raises:
        DataError: the requested split would have no image.
    """
    n = len(whole.images)
    held = 0 if fraction == 0 else max(1, round(n * fraction))
    order = np.random.RandomState(SPLIT_SEED).permutation(n)
    mine = np.sort(order[:held] if split == "test" else order[held:])
    if len(mine) == 0:
        raise DataError(
            f"{name}: of {n} images, test_fraction = {fraction} leaves none for the split '{split}'; "
            "add images or choose another test_fraction"
        )
    return whole.take(torch.from_numpy(mine))


def name_some(things: Sequence[object]) -> str:
    """The first things of a list, for messages, and how many more there are."""
    more = len(things) - _NAMED_AT_MOST
    return ", ".join(str(thing) for thing in things[:_NAMED_AT_MOST]) + (f", and {more:,} more" if more > 0 else "")


def decode_one(file: Path | BinaryIO, *, size: int, channels: int) -> np.ndarray:
    """One image as `decode` makes it: uint8 [size, size, channels].

    Raises:
        Exception: Pillow's decoders raise many kinds for a file that cannot be used.
    """
    upright = open_picture(file, "L" if channels == 1 else "RGB", upright=True)
    scaled = ImageOps.fit(upright, (size, size), method=Image.Resampling.BILINEAR)
    return np.asarray(scaled).reshape(size, size, channels)


def decode(files: Sequence[Path], *, size: int, channels: int, name: str) -> Tensor:
    """Decode image files: rotated by their EXIF data, scaled so that the shorter side fits, and centre-cropped.

    Scaling is Pillow's bilinear filter, which antialiases.

    Args:
        files: the images.
        size: height and width of the result in pixels.
        channels: 1 for grey, 3 for RGB.
        name: the data set, for messages.

    Returns:
        uint8 [n, channels, size, size], in the order of `files`.

    Raises:
        DataError: images cannot be read (the message counts them and names the first), or take more than half of the
            memory.
    """
    check_room(len(files) * size * size * channels, f"{name}: {len(files):,} images of {size:,} x {size:,} pixels")
    out = np.empty((len(files), size, size, channels), np.uint8)

    def one(place: int) -> str | None:
        try:
            out[place] = decode_one(files[place], size=size, channels=channels)
        # Pillow's decoders raise many kinds of errors for a broken file; all mean that this one cannot be used.
        except Exception as problem:
            return f"{files[place]} ({problem or type(problem).__name__})"
        return None

    with ThreadPoolExecutor() as pool:
        broken = [problem for problem in pool.map(one, range(len(files))) if problem]
    if broken:
        raise DataError(
            f"{name}: {len(broken)} of {len(files)} images cannot be read: {name_some(broken)}; repair or remove them"
        )
    return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()
