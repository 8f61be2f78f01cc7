"""Handwritten digits that ship with scikit-learn: the set that needs no download."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from genprior import Dataset, ImageSet, fit_images
from genprior_std.datasets.digit_scans import divide_scans, read_scans
from genprior_std.datasets.download import DIGIT_NAMES
from genprior_std.datasets.views import ViewConfig, binarised, check_view, held_back, is_drawn_once, view_facts

__all__ = ["Digits"]


class Digits(Dataset):
    """scikit-learn's `load_digits`: 1,797 scans of handwritten digits, grey 8x8, brought to 32x32 by default.

    Values 0..16 become 0..255. The split is the same for everyone: 1,437 images train and 360 test, drawn once and
    stratified by class; `all` gives the whole set in scikit-learn's order. With `validation` > 0, the last `validation`
    training images in that order are the split `validation`.

    `binarise` makes pixels black or white after scaling, the scaled grey being the probability of white (8x8 is too
    coarse to be scaled afterwards, while a set of larger images is binarised as it is): `static` draws the whole set
    once; `dynamic` leaves `train` grey and draws each of its batches anew, and takes the other splits from the same
    fixed draw (see `views.binarised`).

    References:
        Alpaydin, Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning Repository, 1998.
    """

    name = "digits"

    class Config(ViewConfig):
        """Settings of the digits."""

        size: int | None = Field(default=32, ge=1)
        """Height and width of the images in pixels, by bilinear scaling from 8x8; None leaves them at 8x8."""

    @property
    def stochastic(self) -> bool:
        """Whether pixels are binarised anew in each batch."""
        dynamic: bool = self.config.binarise == "dynamic"
        return dynamic

    @property
    def facts(self) -> Mapping[str, Any]:
        """Size, binarisation, and the number of images."""
        return view_facts(self.config, 8, "resize", 1_437, 360)

    def load(self, split: str) -> ImageSet:
        """Read the split `train`, `validation`, `test` or `all`.

        Raises:
            DataError: there is no such split; `validation` is requested but nothing is held back; or no image would be
                left to train on.
        """
        config = self.config
        split = config.split_for(split)
        check_view(self.name, split, config.validation, usual=200, possible=("train", "validation", "test", "all"))
        scans, labels = read_scans()
        images = fit_images(scans, config.size, "resize")
        if is_drawn_once(config.binarise, split):
            images = binarised(images, place=0)
        if split != "all":
            chosen = divide_scans(labels, split)
            if split != "test":
                chosen = chosen[held_back(len(chosen), split, config.validation, self.name)]
            images, labels = images[chosen], labels[chosen]
        return ImageSet(images, labels, DIGIT_NAMES)
