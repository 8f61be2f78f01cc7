"""Oxford 102 Flowers."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import Field

from genprior import DataError, ImageSet, PartConfig
from genprior_std.datasets.download import Downloaded
from genprior_std.datasets.shared import decode

__all__ = ["Flowers102"]


class Flowers102(Downloaded):
    """Oxford 102 Flowers: colour photographs of 102 species, scaled and cut to size x size.

    `train` is the official training and validation part together (2,040 images), `test` the official test part (6,149).
    Captions are not part of it.

    References:
        Nilsback, Zisserman, "Automated flower classification over a large number of classes", 2008.
    """

    name = "flowers102"
    official = "flowers-102/ with imagelabels.mat, setid.mat and jpg/, unpacked from 102flowers.tgz"

    keeps_raw = True

    class Config(PartConfig):
        """Settings of Oxford 102 Flowers."""

        size: int = Field(default=64, ge=1)
        """Height and width of the images in pixels: the shorter side is scaled to it, then the centre is cropped."""

    @property
    def cached_as(self) -> str:
        """The name in the cache: photographs are too large to cache unscaled, so each size has its own files."""
        return f"{self.name}-{self.config.size}"

    def fetch(self, split: str, raw: Path) -> ImageSet:
        """Read a split through torchvision, and decode its photographs."""
        from torchvision.datasets import Flowers102 as Official

        names = ("train", "val") if split == "train" else ("test",)
        parts = [Official(raw, split=part, download=True) for part in names]
        files = [Path(file) for part in parts for file in part._image_files]
        labels = [label for part in parts for label in part._labels]
        missing = [file for file in files if not file.is_file()]
        if missing:
            raise DataError(
                f"data set '{self.name}': {len(missing):,} of {len(files):,} photographs are missing, such as "
                f"{missing[0]}, as an interrupted unpacking leaves them; delete {missing[0].parent} and start again"
            )
        images = decode(files, size=self.config.size, channels=3, name=f"data set '{self.name}'")
        return ImageSet(images, torch.tensor(labels, dtype=torch.int64), tuple(Official.classes))
