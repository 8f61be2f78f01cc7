"""MNIST, handwritten digits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from genprior import ImageSet
from genprior_std.datasets.download import DIGIT_NAMES, ViewedDownload, check_idx_files

__all__ = ["Mnist"]


class Mnist(ViewedDownload):
    """MNIST: 60,000 + 10,000 grey images of handwritten digits, 28x28 padded to 32x32 by default.

    `size = 28` and `validation = 10_000` give the 784 pixels and the 50,000 + 10,000 + 10,000 images on which
    likelihoods are compared, `binarise` makes the pixels black or white (see `ViewedDownload`).

    References:
        LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998.
    """

    name = "mnist"
    official = "MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte, unzipped"
    images_of_splits = {"train": 60_000, "test": 10_000}

    class Config(ViewedDownload.Config):
        """Settings of MNIST."""

        limit: int | None = Field(default=None, ge=1)
        """Use only the first `limit` training images, for quick experiments; None uses all that are not held back."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Size, binarisation, and the number of images."""
        facts, limit = super().facts, self.config.limit
        splits = facts["images_of_splits"]
        return {**facts, "images_of_splits": {**splits, "train": min(splits["train"], limit or splits["train"])}}

    def load(self, split: str) -> ImageSet:
        """Read the split `train` (cut to the first `limit` images that are not held back), `validation` or `test`.

        Raises:
            DataError: as `ViewedDownload.load`.
        """
        limit = self.config.limit if split == "train" else None
        return super().load(split).take(slice(limit))

    def fetch(self, split: str, raw: Path) -> ImageSet:
        """Read a split through torchvision, which does not check the length of unpacked files."""
        from torchvision.datasets import MNIST

        check_idx_files(raw / "MNIST" / "raw")
        official = MNIST(raw, train=split == "train", download=True)
        return ImageSet(official.data[:, None], official.targets.long(), DIGIT_NAMES)
