"""Fashion-MNIST, pieces of clothing."""

from __future__ import annotations

from pathlib import Path

from genprior import ImageSet
from genprior_std.datasets.download import ViewedDownload, check_idx_files

__all__ = ["FashionMnist"]


class FashionMnist(ViewedDownload):
    """Fashion-MNIST: 60,000 + 10,000 grey images of clothing in 10 classes, 28x28 padded to 32x32 by default.

    References:
        Xiao, Rasul, Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms",
        2017, https://arxiv.org/abs/1708.07747.
    """

    name = "fashion_mnist"
    official = "FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte, unzipped"
    images_of_splits = {"train": 60_000, "test": 10_000}

    def fetch(self, split: str, raw: Path) -> ImageSet:
        """Read a split through torchvision, which does not check the length of unpacked files."""
        from torchvision.datasets import FashionMNIST

        check_idx_files(raw / "FashionMNIST" / "raw")
        official = FashionMNIST(raw, train=split == "train", download=True)
        return ImageSet(official.data[:, None], official.targets.long(), tuple(FashionMNIST.classes))
