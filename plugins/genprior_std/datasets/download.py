"""Base classes of downloaded data sets: read the cache, or download through torchvision, or advise."""

from __future__ import annotations

import math
import shutil
import struct
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

from filelock import FileLock, Timeout
from pydantic import Field

from genprior import (
    DataError,
    Dataset,
    ImageSet,
    PartConfig,
    cache_file,
    cache_folder,
    downloading,
    fit_images,
    notice,
    read_cache,
    write_cache,
)
from genprior_std.datasets.shared import check_split, size_facts
from genprior_std.datasets.views import (
    ViewConfig,
    binarised,
    check_size,
    check_view,
    held_back,
    is_drawn_once,
    view_facts,
)

__all__ = ["DIGIT_NAMES", "Downloaded", "FittedDownload", "ViewedDownload", "check_idx_files"]

DIGIT_NAMES = tuple(str(digit) for digit in range(10))


@contextmanager
def _locked(path: Path, name: str) -> Iterator[None]:
    """Hold the lock of a download; waits for a process that has it, and says so."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        notice(f"another process downloads or decodes data set '{name}' now; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def check_idx_files(folder: Path) -> None:
    """Check that the official files of MNIST's kind in a folder are whole, as far as they are there.

    The header is 0, 0, the type of the values (8 for bytes), the number d of axes, and d sizes of 32 bits, big-endian.

    Raises:
        DataError: a file has another length than its header says.
    """
    for path in sorted(folder.glob("*-ubyte")):
        with path.open("rb") as file:
            head = file.read(4 + 4 * 255)
        axes = head[3] if len(head) >= 4 else 0
        sizes = struct.unpack_from(f">{axes}I", head, 4) if len(head) >= 4 + 4 * axes else (math.inf,)
        wanted, length = 4 + 4 * axes + math.prod(sizes), path.stat().st_size
        if head[:3] != bytes((0, 0, 8)) or not axes or length != wanted:
            raise DataError(
                f"{path} is damaged or not whole ({length:,} bytes), as an interrupted download leaves it; delete it "
                "and start again, and it is downloaded again, or put the whole file there"
            )


class Downloaded(Dataset):
    """A public data set, downloaded once through torchvision and kept decoded in the cache."""

    official: ClassVar[str]
    """The official files, relative to the raw folder, for users who fetch them by hand."""
    keeps_raw: ClassVar[bool] = False
    """Whether downloaded files are kept after decoding, because other settings decode them again."""

    @abstractmethod
    def fetch(self, split: str, raw: Path) -> ImageSet:
        """Read a split from the official files in the folder `raw`, downloading those that are not there."""

    @property
    def cached_as(self) -> str:
        """The name in the cache."""
        return self.name

    def load(self, split: str) -> ImageSet:
        """Read the split `train` or `test`: from the cache, or else from the official files.

        Raises:
            DataError: there is no such split; the set is neither cached nor can be downloaded; the cached file is
                corrupt; or the cache cannot be written.
        """
        check_split(self.name, split)
        return read_cache(self.cached_as, split) or self._obtain(split)

    def _obtain(self, split: str) -> ImageSet:
        """Fill the cache with both splits, one process at a time, and return the requested one."""
        folder = cache_folder()
        raw = folder / "raw" / self.name
        with ExitStack() as held:
            try:
                raw.mkdir(parents=True, exist_ok=True)
                held.enter_context(_locked(folder / f".{self.name}.lock", self.name))
            except OSError as problem:
                raise DataError(
                    f"data set '{self.name}' is not in the cache folder {folder}, which cannot be written ({problem}); "
                    "point GENPRIOR_DATA at a folder that can"
                ) from problem
            # Another process may have filled the cache while this one waited.
            found = read_cache(self.cached_as, split)
            if found is not None:
                return found
            # Files that a user put there are kept; only files of this download are removed.
            raw_was_empty = not any(raw.iterdir())
            what = f"data set '{self.name}' to {raw}" if raw_was_empty else f"what {raw} lacks of '{self.name}'"
            with downloading(what, "its mirrors in torchvision"):
                fetched = {part: self._fetch_or_advise(part, raw) for part in ("train", "test")}
            for part, image_set in fetched.items():
                write_cache(self.cached_as, part, image_set)
            if raw_was_empty and not self.keeps_raw:
                shutil.rmtree(raw, ignore_errors=True)
            return fetched[split]

    def _fetch_or_advise(self, split: str, raw: Path) -> ImageSet:
        try:
            return self.fetch(split, raw)
        except DataError:
            raise
        # Downloading, unpacking and parsing fail in many ways; the advice is the same for all of them.
        except Exception as problem:
            raise DataError(
                f"data set '{self.name}' is neither cached nor could it be downloaded "
                f"({type(problem).__name__}: {problem}). Looked for {cache_file(self.cached_as, split)}. Either go "
                f"online and start again; or copy that file from a machine that has it, or point GENPRIOR_DATA at a "
                f"folder with it; or put the official files ({self.official}) into {raw}. "
                "The data set 'digits' needs neither file nor network"
            ) from problem


class FittedDownload(Downloaded):
    """A downloadable set of small images of one size, cached as downloaded and fitted to `size` when read."""

    side: ClassVar[int] = 32
    """Height and width of the images as downloaded."""
    images_of_splits: ClassVar[Mapping[str, int]]
    """The number of images of each split."""

    class Config(PartConfig):
        """Settings of a downloadable set of small images."""

        size: int | None = Field(default=32, ge=1)
        """Height and width of the images in pixels; None leaves them as they are."""
        how: Literal["pad", "resize"] = "resize"
        """How images are fitted to `size`: zero padding, or bilinear scaling."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Size, and the number of images."""
        config = self.config
        counts = dict(self.images_of_splits)
        return {**size_facts(self.side, config.size, config.how), "binarise": "none", "images_of_splits": counts}

    def load(self, split: str) -> ImageSet:
        """Read the split `train` or `test`, and fit its images to the size.

        Raises:
            DataError: as `Downloaded.load`; or the images cannot be padded to the size.
        """
        found = super().load(split)
        return found._replace(images=fit_images(found.images, self.config.size, self.config.how))


class ViewedDownload(Downloaded):
    """A downloadable set of grey 28x28 images, padded to 32x32 by default, as likelihood papers use it.

    With `validation` > 0, the last `validation` official training images, in file order, are the split `validation`.
    With `binarise`, pixels are made black or white at 28x28, before any padding: `static` draws each image of each
    split once; `dynamic` leaves the training images grey and draws each batch anew, and draws those of `validation` and
    `test` once. A fixed draw depends neither on `validation` or any other setting, nor on the state of a generator (see
    `views.binarised`; it is not Larochelle's binarised MNIST).
    """

    side: ClassVar[int] = 28
    """Height and width of the images as downloaded."""
    images_of_splits: ClassVar[Mapping[str, int]]
    """The number of images of each official split."""

    class Config(ViewConfig):
        """Settings of a downloadable set of grey images."""

        size: int | None = Field(default=32, ge=1)
        """Height and width of the images in pixels; None leaves them as they are, 28x28."""
        how: Literal["pad", "resize"] = "pad"
        """How 28x28 images are fitted to `size`: zero padding, or bilinear scaling."""

    @property
    def stochastic(self) -> bool:
        """Whether pixels are binarised anew in each batch."""
        dynamic: bool = self.config.binarise == "dynamic"
        return dynamic

    @property
    def facts(self) -> Mapping[str, Any]:
        """Size, binarisation, and the number of images."""
        counts = self.images_of_splits
        return view_facts(self.config, self.side, self.config.how, counts["train"], counts["test"])

    def load(self, split: str) -> ImageSet:
        """Read the split `train`, `validation` or `test`, binarise it if `binarise` is set, and fit it to the size.

        Raises:
            DataError: as `Downloaded.load`; `validation` is requested but nothing is held back; no image would be left
                to train on; the images cannot be padded to the size; or they are to be binarised and scaled.
        """
        config = self.config
        split = config.split_for(split)
        check_view(self.name, split, config.validation, usual=10_000, possible=("train", "validation", "test"))
        official = "test" if split == "test" else "train"
        found = super().load(official)
        height, width = found.images.shape[-2:]
        check_size((height, width), config.size, config.how, config.binarise, self.name)
        if is_drawn_once(config.binarise, split):
            found = found._replace(images=binarised(found.images, place=1 if official == "test" else 0))
        if official == "train":
            found = found.take(held_back(len(found.images), split, config.validation, self.name))
        return found._replace(images=fit_images(found.images, config.size, config.how))
