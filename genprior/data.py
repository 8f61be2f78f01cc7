"""Data sets as uint8 tensors: the cache on disk, the checks, the sizes, and batches by seed.

A decoded split is an `ImageSet`: images uint8 [n, c, h, w] and labels int64 [n]. It is kept in the cache folder as
`<name>-<split>.safetensors` (tensors `images` and `labels`; the class names are a JSON list in the metadata key
`classes`), and trained on as one tensor on the device, whose batches are a function of (seed, step) alone.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Literal

import platformdirs
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import interpolate, pad

from genprior.errors import DataError
from genprior.labels import count_of
from genprior.parts import DataInfo, Dataset, ImageSet

__all__ = [
    "as_trained",
    "cache_file",
    "cache_folder",
    "fit",
    "images_to_float",
    "read_cache",
    "to_uint8",
    "validate",
    "write_cache",
]

# A tensor, not a Python number, so that uint8 is promoted to float32 whatever torch's default dtype is.
_HALF = torch.tensor(127.5, dtype=torch.float32)
_RESIZE_CHUNK = 1024


# ---------------------------------------------------------------------------------------------------------------------
# Bytes and numbers
# ---------------------------------------------------------------------------------------------------------------------


def images_to_float(images: Tensor) -> Tensor:
    """Bring bytes to what networks see: (x - 127.5) / 127.5.

    Args:
        images: uint8, any shape.

    Returns:
        float32 of the same shape and memory layout, in [-1, 1]; 0 and 255 become exactly -1 and 1.
    """
    return torch.sub(images, _HALF).div_(127.5)


def to_uint8(images: Tensor) -> Tensor:
    """Bring what networks make to bytes: 127.5 (x + 1), rounded to the nearest and clamped to 0..255.

    The inverse of `images_to_float`, exactly, for all 256 values.

    Args:
        images: floating point, any shape, meant to lie in [-1, 1].

    Returns:
        uint8 of the same shape.
    """
    wide = images.detach().to(torch.promote_types(images.dtype, torch.float32))
    return wide.add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


# ---------------------------------------------------------------------------------------------------------------------
# Checks and sizes
# ---------------------------------------------------------------------------------------------------------------------


def validate(image_set: ImageSet, name: str) -> ImageSet:
    """Return `image_set` if it is one that can be trained on.

    Args:
        image_set: what to check.
        name: the data set or file, for the message.

    Returns:
        The same image set.

    Raises:
        DataError: it is empty, has images that are not uint8 [n, c, h, w] with c of 1 or 3, or labels that are not
            int64 [n] in 0 .. number of classes - 1 (all 0 without class names).
    """
    images, labels, classes = image_set
    if images.dtype != torch.uint8:
        raise DataError(f"{name}: images are {_dtype(images)}; uint8 values 0..255 are needed")
    if images.ndim != 4:
        raise DataError(f"{name}: images have shape {list(images.shape)}; [n, channels, height, width] is needed")
    if 0 in images.shape:
        raise DataError(f"{name}: there are no images in it (shape {list(images.shape)}); at least one is needed")
    if images.shape[1] not in (1, 3):
        raise DataError(
            f"{name}: images have {images.shape[1]} channels (shape {list(images.shape)}); "
            "1 (grey) or 3 (RGB) are possible"
        )
    if labels.dtype != torch.int64:
        raise DataError(f"{name}: labels are {_dtype(labels)}; int64 is needed")
    if labels.shape != images.shape[:1]:
        raise DataError(
            f"{name}: labels have shape {list(labels.shape)} for {len(images)} images; one label an image is needed"
        )
    low, high = (int(v) for v in labels.aminmax())
    if low < 0 or high >= max(len(classes), 1):
        allowed = f"0..{len(classes) - 1} ({len(classes)} classes)" if classes else "0 (no class names are given)"
        raise DataError(f"{name}: labels run from {low} to {high}; {allowed} is possible")
    return image_set


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def as_trained(dataset: Dataset, labels: float | None, train: ImageSet | None = None) -> DataInfo:
    """What a model may know of a data set before it is built: of the images as they are trained on.

    Args:
        dataset: the data set.
        labels: how many training images keep their label, or below 1 which share of them; None for all.
        train: its split `train`, where it has been read already.
    """
    train = train or dataset.load("train")
    info = train.info._replace(labelled=count_of(labels, len(train.labels)))
    return info._replace(binary=True) if dataset.stochastic else info


def fit(images: Tensor, size: int | None, how: Literal["pad", "resize"]) -> Tensor:
    """Bring images to size x size.

    Args:
        images: uint8 [n, c, h, w].
        size: the new height and width in pixels; None leaves the images as they are.
        how: `pad` puts zeros (black) around the image, the odd pixel right and below; `resize` scales the shorter side
            to `size` (bilinear, antialiased, half-pixel centres) and cuts out the middle.

    Returns:
        uint8 [n, c, size, size].

    Raises:
        DataError: `pad` to a size smaller than the images.
    """
    height, width = images.shape[-2:]
    if size is None or (height, width) == (size, size):
        return images
    if how == "pad":
        if size < max(height, width):
            raise DataError(
                f"images of {height}x{width} cannot be padded to size = {size}; "
                f'choose size >= {max(height, width)}, or how = "resize"'
            )
        left, top = (size - width) // 2, (size - height) // 2
        return pad(images, (left, size - width - left, top, size - height - top))
    scale = size / min(height, width)
    new = max(size, round(height * scale)), max(size, round(width * scale))
    top, left = (new[0] - size) // 2, (new[1] - size) // 2
    out = images.new_empty((*images.shape[:2], size, size))
    # In chunks, because the floats of a large set would be four times its bytes.
    for start in range(0, len(images), _RESIZE_CHUNK):
        chunk = images[start : start + _RESIZE_CHUNK].to(torch.float32)
        scaled = interpolate(chunk, new, mode="bilinear", antialias=True, align_corners=False)
        cut = scaled[..., top : top + size, left : left + size]
        out[start : start + _RESIZE_CHUNK] = cut.round().clamp(0, 255).to(torch.uint8)
    return out


# ---------------------------------------------------------------------------------------------------------------------
# The cache
# ---------------------------------------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where decoded data sets are kept: `$GENPRIOR_DATA`, else the user's cache folder (`~/.cache/genprior/data`)."""
    own = os.environ.get("GENPRIOR_DATA")
    return Path(own).expanduser() if own else platformdirs.user_cache_path("genprior", appauthor=False) / "data"


def cache_file(name: str, split: str) -> Path:
    """The file that holds a split: `<cache folder>/<name>-<split>.safetensors`, whether or not it exists."""
    return cache_folder() / f"{name}-{split}.safetensors"


def read_cache(name: str, split: str) -> ImageSet | None:
    """Read a decoded split from the cache.

    Args:
        name: the data set's name in the cache.
        split: for example `train`.

    Returns:
        The split, or None where the cache has no such file.

    Raises:
        DataError: the file cannot be opened, is truncated or corrupt, or holds something else than an image set.
    """
    path = cache_file(name, split)
    cure = "delete it, and it will be downloaded or made again when it is next needed"
    try:
        with safe_open(path, framework="pt") as file:
            missing = {"images", "labels"} - set(file.keys())
            if missing:
                raise DataError(f"{path}: it has no tensor {' and no '.join(sorted(missing))}; {cure}")
            images, labels = file.get_tensor("images"), file.get_tensor("labels")
            classes = json.loads((file.metadata() or {}).get("classes", "[]"))
    except FileNotFoundError:
        return None
    except SafetensorError as problem:
        raise DataError(f"{path}: it is truncated or no safetensors file ({problem}); {cure}") from problem
    except json.JSONDecodeError as problem:
        raise DataError(f"{path}: its metadata 'classes' is no JSON list ({problem}); {cure}") from problem
    except OSError as problem:
        raise DataError(f"{path}: it cannot be read ({problem}); check the file's permissions") from problem
    if not isinstance(classes, list) or not all(isinstance(one, str) for one in classes):
        raise DataError(f"{path}: its metadata 'classes' is no JSON list of names; {cure}")
    try:
        return validate(ImageSet(images, labels, tuple(classes)), str(path))
    except DataError as problem:
        raise DataError(f"{problem}; {cure}") from problem


def write_cache(name: str, split: str, image_set: ImageSet) -> Path:
    """Keep a decoded split in the cache: the file is written whole or not at all.

    Args:
        name: the data set's name in the cache.
        split: for example `train`.
        image_set: what to keep.

    Returns:
        The file.

    Raises:
        DataError: `image_set` is not valid, or the file cannot be written (a full disk, no permission).
    """
    validate(image_set, name)
    path = cache_file(name, split)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    tensors = {"images": image_set.images.contiguous(), "labels": image_set.labels.contiguous()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # safetensors makes files that only their owner may read; a cache may be shared, so the umask decides.
        partial.touch(exist_ok=False)
        mode = partial.stat().st_mode
        save_file(tensors, partial, {"classes": json.dumps(list(image_set.classes))})
        partial.chmod(mode)
        _sync(partial)
        partial.replace(path)
        _sync(path.parent)
    except (OSError, SafetensorError) as problem:
        raise DataError(
            f"{path}: it cannot be written ({problem}); "
            "free some space or give yourself permission there, or point GENPRIOR_DATA at another folder"
        ) from problem
    finally:
        with suppress(OSError):
            partial.unlink()
    return path


def _sync(path: Path) -> None:
    """Have what is at `path` reach the disk; a folder cannot be opened for that on Windows."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
