"""Decoded splits of data sets in the cache folder, as `<name>-<split>.safetensors`.

Captions are a tensor, uint8 JSON in UTF-8, because the metadata of safetensors are read whole with each file.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from genprior.data.images import check_images
from genprior.errors import DataError
from genprior.parts import ImageSet
from genprior.storage.cache import cache_folder
from genprior.storage.files import whole_file
from genprior.storage.tensors import opened_tensors

__all__ = ["cache_file", "read_cache", "write_cache"]


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
        DataError: the file cannot be opened, is truncated or corrupt, or does not hold an image set.
    """
    path = cache_file(name, split)
    remedy = "delete it, and it will be downloaded or made again when it is next needed"
    try:
        with opened_tensors(path) as file:
            missing = {"images", "labels"} - set(file.keys())
            if missing:
                raise DataError(f"{path}: it has no tensor {' and no '.join(sorted(missing))}; {remedy}")
            images, labels = file.get_tensor("images"), file.get_tensor("labels")
            stored = file.get_tensor("captions") if "captions" in file.keys() else None  # noqa: SIM118
            classes = json.loads((file.metadata() or {}).get("classes", "[]"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except SafetensorError as problem:
        raise DataError(f"{path}: it is truncated or no safetensors file ({problem}); {remedy}") from problem
    except (ValueError, RecursionError) as problem:
        raise DataError(f"{path}: its metadata 'classes' is no JSON list ({problem}); {remedy}") from problem
    except OSError as problem:
        raise DataError(f"{path}: it cannot be read ({problem}); check the file's permissions") from problem
    if not isinstance(classes, list) or not all(isinstance(label, str) for label in classes):
        raise DataError(f"{path}: its metadata 'classes' is no JSON list of names; {remedy}")
    try:
        captions = () if stored is None else _captions(stored, path)
        return check_images(ImageSet(images, labels, tuple(classes), captions), str(path))
    except DataError as problem:
        raise DataError(f"{problem}; {remedy}") from problem


def write_cache(name: str, split: str, image_set: ImageSet) -> Path:
    """Write a decoded split to the cache, atomically, with its captions but not its attributes.

    Args:
        name: the data set's name in the cache.
        split: for example `train`.
        image_set: the split.

    Returns:
        The file.

    Raises:
        DataError: `image_set` is not valid, or the file cannot be written (a full disk, no permission).
    """
    check_images(image_set, name)
    path = cache_file(name, split)
    tensors = {"images": image_set.images.contiguous(), "labels": image_set.labels.contiguous()}
    if image_set.captions:
        tensors["captions"] = torch.from_numpy(np.frombuffer(json.dumps(image_set.captions).encode(), np.uint8).copy())
    try:
        with whole_file(path) as partial:
            save_file(tensors, partial, {"classes": json.dumps(list(image_set.classes))})
    except (OSError, SafetensorError) as problem:
        raise DataError(
            f"{path}: it cannot be written ({problem}); "
            "free some space or give yourself permission there, or set GENPRIOR_DATA to another folder"
        ) from problem
    return path


def _captions(stored: Tensor, path: Path) -> tuple[tuple[str, ...], ...]:
    """The captions of a file.

    Raises:
        DataError: they are no bytes of JSON, or not a list of texts for each image.
    """
    if stored.dtype != torch.uint8 or stored.ndim != 1:
        raise DataError(f"{path}: its tensor 'captions' is {stored.dtype} {list(stored.shape)}, and not bytes of JSON")
    try:
        texts = json.loads(stored.numpy().tobytes().decode())
    except (ValueError, RecursionError) as problem:
        raise DataError(f"{path}: its tensor 'captions' is no JSON ({problem})") from None
    if not isinstance(texts, list) or not all(
        isinstance(some, list) and all(isinstance(text, str) for text in some) for some in texts
    ):
        raise DataError(f"{path}: its tensor 'captions' is no JSON list of texts for each image")
    return tuple(tuple(some) for some in texts)
