"""SVHN, house numbers."""

from __future__ import annotations

from pathlib import Path

import torch

from genprior import ImageSet
from genprior_std.datasets.download import DIGIT_NAMES, FittedDownload

__all__ = ["Svhn"]


class Svhn(FittedDownload):
    """SVHN, cropped digits: 73,257 + 26,032 colour images of digits in house numbers, 32x32; label 0 is the digit 0.

    References:
        Netzer, Wang, Coates, Bissacco, Wu, Ng, "Reading digits in natural images with unsupervised feature learning",
        2011.
    """

    name = "svhn"
    official = "train_32x32.mat and test_32x32.mat"
    images_of_splits = {"train": 73_257, "test": 26_032}

    def fetch(self, split: str, raw: Path) -> ImageSet:
        """Read a split through torchvision, which reads the MATLAB file after checking its MD5."""
        from torchvision.datasets import SVHN

        official = SVHN(raw, split=split, download=True)
        # The file has the image axis last; the cache needs a contiguous copy.
        images = torch.from_numpy(official.data.copy()).contiguous()
        return ImageSet(images, torch.from_numpy(official.labels.reshape(-1)), DIGIT_NAMES)
