"""Binarised pixels and a validation split, as papers on likelihoods use them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from genprior import DataError, PartConfig
from genprior_std.datasets.shared import check_split, size_facts

__all__ = [
    "Binarise",
    "ViewConfig",
    "binarised",
    "check_size",
    "check_view",
    "held_back",
    "is_drawn_once",
    "view_facts",
]

Binarise = Literal["none", "static", "dynamic"]

_SEED = 777


class ViewConfig(PartConfig):
    """Settings of a data set on which likelihoods are measured."""

    binarise: Binarise = "none"
    """Black and white pixels: `static` draws every image once, `dynamic` draws training images anew in each batch."""
    validation: int = Field(default=0, ge=0)
    """How many training images, the last in file order, are the split `validation`; for MNIST usually 10,000."""
    test_split: Literal["test", "validation"] = "test"
    """Which split is `test`, as all scores see it: with `validation` settings are chosen without the test images."""

    def split_for(self, split: str) -> str:
        """The split that is read where `split` is requested."""
        return self.test_split if split == "test" else split


def view_facts(config: Any, side: int, how: str, train: int, test: int) -> dict[str, Any]:
    """The facts of a set with these settings, see `genprior.Dataset.facts`.

    Args:
        config: a `ViewConfig` with `size`.
        side: height and width of the images as they are.
        how: `pad` or `resize`.
        train: how many official training images there are.
        test: how many official test images, which with `test_split` are not the split `test`.
    """
    held: int = config.validation
    read: str = config.split_for("test")
    splits = {"train": max(0, train - held), **({"validation": held} if held else {})}
    splits["test"] = test if read == "test" else held
    facts = {**size_facts(side, config.size, how), "binarise": config.binarise, "images_of_splits": splits}
    return facts if read == "test" else {**facts, "split": read}


def check_view(name: str, split: str, validation: int, *, usual: int, possible: Sequence[str]) -> None:
    """Refuse a split that a data set does not have, or does not have without `validation`.

    Args:
        name: the data set.
        split: the requested split.
        validation: how many training images are held back.
        usual: the number that the message recommends.
        possible: all splits, `validation` included.

    Raises:
        DataError: `split` is not in `possible`, or is `validation` while nothing is held back.
    """
    check_split(name, split, possible)
    if split == "validation" and validation == 0:
        raise DataError(
            f"data set '{name}' has no split 'validation', because validation = 0 holds nothing back from training; "
            f"set validation = {usual:_} in its settings"
        )


def held_back(n: int, split: str, validation: int, name: str) -> slice:
    """The slice of the n official training images, in file order, that is the split `train` or `validation`.

    Args:
        n: how many there are.
        split: `train` has the first n - validation, `validation` the others.
        validation: how many are held back.
        name: the data set, for the message.

    Raises:
        DataError: no image would be left to train on.
    """
    if validation >= n:
        raise DataError(
            f"data set '{name}': validation = {validation} leaves none of the {n} training images to train on; "
            f"hold back at most {n - 1}"
        )
    return slice(n - validation) if split == "train" else slice(n - validation, n)


def check_size(shape: tuple[int, int], size: int | None, how: str, binarise: Binarise, name: str) -> None:
    """Refuse a size that needs scaling of black and white images, because scaling makes them grey.

    Args:
        shape: height and width of the images as they are.
        size: the requested height and width; None keeps those of the images.
        how: `pad` or `resize`.
        binarise: whether and how pixels are made black or white.
        name: the data set, for the message.

    Raises:
        DataError: the images are to be binarised, and would have to be scaled.
    """
    if binarise == "none" or size is None or shape == (size, size) or (how == "pad" and size >= max(shape)):
        return
    raise DataError(
        f"data set '{name}': binarise = \"{binarise}\" makes pixels black or white at {shape[0]}x{shape[1]}, and "
        f"scaling to size = {size} would make them grey again; choose size = {max(shape)}, or a larger one with "
        'how = "pad"'
    )


def is_drawn_once(binarise: Binarise, split: str) -> bool:
    """Whether the images of a split are binarised when they are read, by one fixed draw."""
    return binarise == "static" or (binarise == "dynamic" and split != "train")


def binarised(images: Tensor, place: int) -> Tensor:
    """Make each pixel white or black, once and for all: a byte v becomes 255 with probability v / 255, else 0.

    A pixel is white where a whole number drawn uniformly from 0..254 is below v. It is drawn by numpy's `RandomState`,
    whose numbers are promised to stay the same on all platforms and in all versions, under the seed (777, place).

    The protocol is that of Tomczak, Welling, "VAE with a VampPrior", 2018, which binarises the validation and test
    images once under the seed 777; the draw itself is this function's own, and neither theirs nor the file of
    Larochelle, Murray, "The neural autoregressive distribution estimator", 2011. How much likelihoods differ between
    draws has not been measured.

    Args:
        images: uint8, all images of an official split, so that a later selection changes no draw.
        place: tells the splits of a set apart.

    Returns:
        uint8 of the same shape, 0 or 255.
    """
    drawn = np.random.RandomState([_SEED, place]).randint(0, 255, size=tuple(images.shape), dtype=np.uint8)
    return (torch.from_numpy(drawn) < images).to(torch.uint8).mul_(255)
