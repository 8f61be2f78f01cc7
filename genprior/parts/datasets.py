"""Data sets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from genprior.parts.base import Part, PartConfig
from genprior.parts.values import ImageSet

__all__ = ["Dataset"]


class Dataset(Part, ABC):
    """A set of images."""

    kind = "dataset"
    locations: ClassVar[tuple[str, ...]] = ()
    """Settings that only say where the user's own files are; with `files_hash`, runs on moved files are the same."""
    reading: ClassVar[tuple[str, ...]] = ()
    """Settings of how images are read that change no image, such as a number of threads: a run is resumed with others,
    and the protocol of its scores does not have them."""
    only_here: ClassVar[bool] = False
    """Whether the images are in the memory of this process, so that worker processes cannot read them."""

    def __init__(self, config: PartConfig) -> None:
        """Hold the settings; nothing is read before `load`."""
        self.config: Any = config

    @property
    def stochastic(self) -> bool:
        """Whether training pixels are probabilities of white, from which each batch draws black or white."""
        return False

    @property
    def facts(self) -> Mapping[str, Any]:
        """Facts of its images that the settings alone decide, which published numbers are compared with.

        They are `size`, `framing`, `binarise`, `images_of_splits`, the number of images of each, and `split`, the split
        whose images are read as `"test"` where that is another one; by default none.
        """
        return {}

    def files_hash(self) -> str | None:
        """A hash of the user's own files that the settings name; None for a set that the settings alone determine.

        A run records it, refuses to resume on other files, and shows it in the protocol of its scores.

        Raises:
            DataError: files are missing or cannot be read.
        """
        return None

    @abstractmethod
    def load(self, split: str) -> ImageSet:
        """Read the split `"train"` or `"test"`, or `"validation"` where the set holds one out of training.

        Raises:
            DataError: the data is missing (the message says how to get it), empty, corrupt or of the wrong shape.
        """

    def training_images(self) -> int:
        """The number of images of the split `"train"`, for `run.epochs`; by default the split is read.

        Raises:
            DataError: as `load`.
        """
        return len(self.load("train").labels)
