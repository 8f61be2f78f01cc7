"""MNIST, handwritten digits."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from genprior.parts import ImageSet
from genprior_std.datasets.download import DIGIT_NAMES, FittedDownload

__all__ = ["Mnist"]


class Mnist(FittedDownload):
    """MNIST: 60,000 + 10,000 grey images of handwritten digits, 28x28 padded to 32x32 by default.

    References:
        LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998.
    """

    name = "mnist"
    official = "MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte, unzipped"

    class Config(FittedDownload.Config):
        """Settings of MNIST."""

        how: Literal["pad", "resize"] = "pad"
        """How 28x28 becomes `size`: zeros around it, or bilinear scaling."""
        limit: int | None = Field(default=None, ge=1)
        """Keep only the first so many training images, for quick experiments; None keeps all."""

    def load(self, split: str) -> ImageSet:
        """Read the split `train` (cut to the first `limit` images) or `test`.

        Raises:
            DataError: as `FittedDownload.load`.
        """
        images, labels, classes = super().load(split)
        limit = self.config.limit if split == "train" else None
        return ImageSet(images[:limit], labels[:limit], classes)

    def fetch(self, split: str, raw: Path) -> ImageSet:
        """Read a split through torchvision."""
        from torchvision.datasets import MNIST

        official = MNIST(raw, train=split == "train", download=True)
        return ImageSet(official.data[:, None], official.targets.long(), DIGIT_NAMES)
