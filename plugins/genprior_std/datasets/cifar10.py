"""CIFAR-10, small photographs."""

from __future__ import annotations

from pathlib import Path

import torch

from genprior import ImageSet
from genprior_std.datasets.download import FittedDownload

__all__ = ["Cifar10"]


class Cifar10(FittedDownload):
    """CIFAR-10: 50,000 + 10,000 colour photographs of 10 classes, 32x32.

    References:
        Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """

    name = "cifar10"
    official = "cifar-10-batches-py/, unpacked from cifar-10-python.tar.gz"
    images_of_splits = {"train": 50_000, "test": 10_000}

    def fetch(self, split: str, raw: Path) -> ImageSet:
        """Read a split through torchvision, which unpickles the official batches after checking their MD5."""
        from torchvision.datasets import CIFAR10

        official = CIFAR10(raw, train=split == "train", download=True)
        images = torch.from_numpy(official.data).permute(0, 3, 1, 2).contiguous()
        return ImageSet(images, torch.tensor(official.targets, dtype=torch.int64), tuple(official.classes))
