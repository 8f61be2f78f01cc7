"""Handwritten digits that ship with scikit-learn: the set that needs neither file nor network."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field

from genprior.data import fit
from genprior.parts import Dataset, ImageSet, PartConfig
from genprior_std.datasets.download import DIGIT_NAMES
from genprior_std.datasets.shared import check_split

__all__ = ["Digits"]

_TEST = 360
_SPLIT_SEED = 0


class Digits(Dataset):
    """scikit-learn's `load_digits`: 1,797 scans of handwritten digits, grey 8x8, brought to 32x32 by default.

    Values 0..16 become 0..255. The split is the same for everyone: 1,437 images train and 360 test, drawn once with
    every class in its share; `all` gives the whole set in scikit-learn's order.

    References:
        Alpaydin, Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning Repository, 1998.
    """

    name = "digits"

    class Config(PartConfig):
        """Settings of the digits."""

        size: int | None = Field(default=32, ge=1)
        """Height and width of the images in pixels, by bilinear scaling from 8x8; None leaves them at 8x8."""

    def load(self, split: str) -> ImageSet:
        """Read the split `train`, `test` or `all`.

        Raises:
            DataError: there is no such split.
        """
        check_split(self.name, split, ("train", "test", "all"))
        # Imported here, because scikit-learn takes a second to import and a plugin is imported to be listed.
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        scans = load_digits()
        bytes_ = np.rint(scans.images * (255 / 16)).astype(np.uint8)
        chosen = np.arange(len(bytes_))
        if split != "all":
            train, test = train_test_split(
                chosen, test_size=_TEST, random_state=_SPLIT_SEED, stratify=scans.target, shuffle=True
            )
            chosen = np.sort(train if split == "train" else test)
        images = torch.from_numpy(bytes_[chosen])[:, None]
        labels = torch.from_numpy(scans.target[chosen].astype(np.int64))
        return ImageSet(fit(images, self.config.size, "resize"), labels, DIGIT_NAMES)
