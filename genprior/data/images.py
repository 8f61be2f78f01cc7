"""Images as uint8 tensors: conversion to floating point, checks, and sizes.

A decoded split is an `ImageSet`: images uint8 [n, c, h, w] and labels int64 [n]. It is kept in the cache folder as
`<name>-<split>.safetensors` (tensors `images` and `labels`; the class names are a JSON list in the metadata key
`classes`); training reads it as one tensor on the device (see `genprior.data.batches`).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from genprior.data.labels import count_of
from genprior.data.room import check_room
from genprior.errors import DataError
from genprior.parts import DataInfo, Dataset, ImageSet

__all__ = ["as_trained", "check_images", "check_levels", "fit_images", "images_to_float", "to_uint8"]

# A tensor, not a Python number, so that uint8 is promoted to float32 whatever torch's default dtype is.
_HALF = torch.tensor(127.5, dtype=torch.float32)
_RESIZE_CHUNK = 1024
_LOOKED_AT = 64


# ---------------------------------------------------------------------------------------------------------------------
# Bytes and floating point
# ---------------------------------------------------------------------------------------------------------------------


def images_to_float(images: Tensor) -> Tensor:
    """Convert bytes to the input of networks: (x - 127.5) / 127.5.

    Args:
        images: uint8, any shape.

    Returns:
        float32 of the same shape and memory layout, in [-1, 1]; 0 and 255 become exactly -1 and 1.
    """
    return torch.sub(images, _HALF).div_(127.5)


def to_uint8(images: Tensor) -> Tensor:
    """Convert the output of networks to bytes: 127.5 (x + 1), rounded to the nearest and clamped to 0..255.

    The inverse of `images_to_float`, exactly, for all 256 values.

    Args:
        images: floating point, any shape, nominally in [-1, 1].

    Returns:
        uint8 of the same shape.
    """
    wide = images.detach().to(torch.promote_types(images.dtype, torch.float32))
    return wide.add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


# ---------------------------------------------------------------------------------------------------------------------
# Checks and sizes
# ---------------------------------------------------------------------------------------------------------------------


def check_images(image_set: ImageSet, name: str) -> ImageSet:
    """Validate an image set, and return it.

    Args:
        image_set: the set to validate.
        name: the data set or file, for messages.

    Returns:
        The same image set.

    Raises:
        DataError: it is empty, has images that are not uint8 [n, c, h, w] or have their channels last, labels that are
            not int64 [n] in 0 .. number of classes - 1 (all 0 without class names), captions that do not give every
            image at least one text, or attributes that are not int64 [n] in -1 .. number of values - 1.
    """
    images, labels, classes = image_set.images, image_set.labels, image_set.classes
    if images.dtype != torch.uint8:
        raise DataError(f"{name}: images are {_dtype(images)}; uint8 values 0..255 are needed")
    if images.ndim != 4:
        raise DataError(f"{name}: images have shape {list(images.shape)}; [n, channels, height, width] is needed")
    if 0 in images.shape:
        raise DataError(f"{name}: there are no images in it (shape {list(images.shape)}); at least one is needed")
    if images.shape[3] in (1, 3) and images.shape[1] not in (1, 3) and images.shape[1] > images.shape[3]:
        raise DataError(
            f"{name}: images have shape {list(images.shape)}, with the channels last; [n, channels, height, width] is "
            "needed, which images.permute(0, 3, 1, 2) gives"
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
    _check_captions(image_set, name)
    return image_set


def _check_captions(image_set: ImageSet, name: str) -> None:
    """Refuse captions that are not texts of every image, and attributes that do not belong to the images."""
    captions, n = image_set.captions, len(image_set.images)
    if captions and len(captions) != n:
        raise DataError(f"{name}: there are captions of {len(captions)} images for {n} images; give each image some")
    for place, some in enumerate(captions):
        if not some or not all(isinstance(text, str) and text.strip() for text in some):
            raise DataError(
                f"{name}: image {place} has {'an empty caption' if some else 'no caption'}; every image of a captioned "
                "set needs at least one caption with words"
            )
    for attribute in image_set.attributes:
        values = attribute.values
        if values.dtype != torch.int64 or values.shape != (n,):
            raise DataError(
                f"{name}: attribute '{attribute.name}' is {_dtype(values)} {list(values.shape)}; int64 [{n}] is needed"
            )
        low, high = (int(v) for v in values.aminmax())
        if low < -1 or high >= len(attribute.names):
            raise DataError(
                f"{name}: attribute '{attribute.name}' has values from {low} to {high}; -1 (not said) to "
                f"{len(attribute.names) - 1} are possible"
            )


def check_levels(images: Tensor, name: str) -> Tensor:
    """Refuse a user's own images whose values are 0 and 1: as bytes, of which 255 is white, they are all but black.

    Args:
        images: uint8, any shape.
        name: the data set or file, for messages.

    Returns:
        The same images.

    Raises:
        DataError: the largest value is 1.
    """
    # In pieces, of which the first one decides as a rule, because streamed images are decoded to be looked at.
    highest = 0
    for piece in torch.split(images, _LOOKED_AT) if images.numel() else ():
        highest = max(highest, int(piece.max()))
        if highest > 1:
            return images
    if highest == 1:
        raise DataError(
            f"{name}: its values are 0 and 1, but 255 is white in images of bytes, so all of them would be black; save "
            "the images times 255 (an .npz may hold them as bool instead)"
        )
    return images


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def as_trained(dataset: Dataset, labels: float | None, train: ImageSet | None = None) -> DataInfo:
    """The form of the training data (binarised or not, with how many labels), which models need when they are built.

    Args:
        dataset: the data set.
        labels: the number of training images that keep their label, or their share if below 1; None for all.
        train: the split `train`, if it has been read already.
    """
    train = train or dataset.load("train")
    info = train.info._replace(labelled=count_of(labels, len(train.labels)))
    return info._replace(binary=True) if dataset.stochastic else info


def fit_images(images: Tensor, size: int | None, how: Literal["pad", "resize"]) -> Tensor:
    """Pad or resize images to size x size.

    Args:
        images: uint8 [n, c, h, w].
        size: the new height and width in pixels; None leaves the images as they are.
        how: `pad` puts zeros (black) around the image, the odd pixel right and below; `resize` scales the shorter side
            to `size` (bilinear, antialiased, half-pixel centres) and cuts out the middle.

    Returns:
        uint8 [n, c, size, size].

    Raises:
        DataError: `pad` to a size smaller than the images, or the images take more than half of the memory.
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
        check_room(len(images) * images.shape[1] * size * size, f"{len(images):,} images of {size:,} x {size:,} pixels")
        left, top = (size - width) // 2, (size - height) // 2
        return pad(images, (left, size - width - left, top, size - height - top))
    scale = size / min(height, width)
    new = max(size, round(height * scale)), max(size, round(width * scale))
    top, left = (new[0] - size) // 2, (new[1] - size) // 2
    check_room(len(images) * images.shape[1] * size * size, f"{len(images):,} images of {size:,} x {size:,} pixels")
    out = images.new_empty((*images.shape[:2], size, size))
    # In chunks, because the floating point copy of a large set would take four times its memory.
    for start in range(0, len(images), _RESIZE_CHUNK):
        chunk = images[start : start + _RESIZE_CHUNK].to(torch.float32)
        scaled = interpolate(chunk, new, mode="bilinear", antialias=True, align_corners=False)
        cut = scaled[..., top : top + size, left : left + size]
        out[start : start + _RESIZE_CHUNK] = cut.round().clamp(0, 255).to(torch.uint8)
    return out
