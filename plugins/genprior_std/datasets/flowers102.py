"""Oxford 102 Flowers, with captions where the user has them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from pydantic import Field

from genprior import DataError, ImageSet, LocalPath, PartConfig, cache_folder, content_hash, hash_file, notice
from genprior_std.datasets.captions import text_lines
from genprior_std.datasets.download import Downloaded
from genprior_std.datasets.shared import decode, name_some

__all__ = ["Flowers102"]

_TEXTS = ("text_c10", "cvpr2016_flowers/text_c10")
"""The folder of captions as its archive unpacks, from the folder above it or the one above that."""


class Flowers102(Downloaded):
    """Oxford 102 Flowers: colour photographs of 102 species, scaled and cut to size x size.

    `train` is the official training and validation part together (2,040 images), `test` the official test part (6,149).
    Captions, ten an image, are read from the folder `text_c10` of Reed et al. if it is there: of a photograph
    `image_00001.jpg` they are the lines of `image_00001.txt`, in the folder of any class.

    References:
        Nilsback, Zisserman, "Automated flower classification over a large number of classes", 2008.
        Reed, Akata, Schiele, Lee, "Learning deep representations of fine-grained visual descriptions", 2016 (captions).
    """

    name = "flowers102"
    locations = ("captions",)
    official = "flowers-102/ with imagelabels.mat, setid.mat and jpg/, unpacked from 102flowers.tgz"

    keeps_raw = True

    class Config(PartConfig):
        """Settings of Oxford 102 Flowers."""

        size: int = Field(default=64, ge=1)
        """Height and width of the images in pixels: the shorter side is scaled to it, then the centre is cropped."""
        captions: LocalPath | None = None
        """The folder `text_c10`, or the one above it; None takes the one in `raw/flowers102` of the cache, if any."""

    @property
    def cached_as(self) -> str:
        """The name in the cache: photographs are cached scaled, so each size has its own files, and captions have."""
        captions = self.files_hash()
        return f"{self.name}-{self.config.size}" + ("" if captions is None else f"-{captions}")

    def files_hash(self) -> str | None:
        """A hash of the captions; None without captions.

        Raises:
            DataError: the folder of the captions is missing, or files in it cannot be read.
        """
        files = self._caption_files()
        if files is None:
            return None
        with ThreadPoolExecutor() as pool:
            hashes = pool.map(hash_file, files.values())
            return content_hash(*(f"{name} {content}" for name, content in zip(files, hashes, strict=True)))

    def fetch(self, split: str, raw: Path) -> ImageSet:
        """Read a split through torchvision, and decode its photographs."""
        from torchvision.datasets import Flowers102 as Official

        names = ("train", "val") if split == "train" else ("test",)
        whole = {part: Official(raw, split=part, download=True) for part in ("train", "val", "test")}
        parts = [whole[part] for part in names]
        files = [Path(file) for part in parts for file in part._image_files]
        labels = [label for part in parts for label in part._labels]
        missing = [file for file in files if not file.is_file()]
        if missing:
            raise DataError(
                f"data set '{self.name}': {len(missing):,} of {len(files):,} photographs are missing, such as "
                f"{missing[0]}, as an interrupted unpacking leaves them; delete {missing[0].parent} and start again"
            )
        captions = self._captions({Path(file).stem for part in whole.values() for file in part._image_files})
        images = decode(files, size=self.config.size, channels=3, name=f"data set '{self.name}'")
        told = tuple(captions[file.stem] for file in files) if captions else ()
        return ImageSet(images, torch.tensor(labels, dtype=torch.int64), tuple(Official.classes), told)

    def _caption_files(self) -> dict[str, Path] | None:
        """The text file of each photograph by its name without ending, sorted; None without captions.

        Raises:
            DataError: the folder of the captions is missing or has no text files, or has two of a photograph.
        """
        home: Path = self.config.captions or cache_folder() / "raw" / self.name
        folder = next((home / place for place in _TEXTS if (home / place).is_dir()), None)
        if folder is None:
            if self.config.captions is None:
                return None
            folder = home
        elif self.config.captions is None:
            notice(f"data set '{self.name}': captions are read from {folder}")
        if not folder.is_dir():
            raise DataError(
                f"data set '{self.name}': captions = {folder} {'is a file' if folder.exists() else 'does not exist'}; "
                "give the folder text_c10, unpacked from cvpr2016_flowers.tar.gz"
            )
        found = sorted([*folder.glob("image_*.txt"), *folder.glob("*/image_*.txt")], key=lambda file: file.stem)
        if not found:
            raise DataError(
                f"data set '{self.name}': there are no captions in {folder}, which needs files such as "
                "class_00001/image_06734.txt; give the folder text_c10, unpacked from cvpr2016_flowers.tar.gz"
            )
        files = {file.stem: file for file in found}
        for file in found:
            if files[file.stem] != file:
                raise DataError(
                    f"data set '{self.name}': the captions of the photograph {file.stem} are in {file} and in "
                    f"{files[file.stem]}; remove one of them"
                )
        return files

    def _captions(self, photographs: set[str]) -> dict[str, tuple[str, ...]]:
        """The captions of the photographs, by their names without ending; none without captions.

        Args:
            photographs: all photographs of the set, of every split.

        Raises:
            DataError: photographs have no captions, captions no photograph, or a file is empty or not UTF-8.
        """
        files = self._caption_files()
        if files is None:
            return {}
        without = sorted(photographs - set(files))
        if without:
            raise DataError(
                f"data set '{self.name}': {len(without):,} of {len(photographs):,} photographs have no captions: "
                f"{name_some(without)}; unpack cvpr2016_flowers.tar.gz again"
            )
        beyond = [str(files[name]) for name in files if name not in photographs]
        if beyond:
            raise DataError(
                f"data set '{self.name}': there are captions of photographs that are not there, in {len(beyond):,} "
                f"files: {name_some(beyond)}; remove them, or give the folder text_c10 of the flowers"
            )
        with ThreadPoolExecutor() as pool:
            contents = pool.map(Path.read_bytes, files.values())
            captions = {
                name: tuple(filter(None, map(str.strip, text_lines(files[name], content))))
                for name, content in zip(files, contents, strict=True)
            }
        empty = [str(files[name]) for name, some in captions.items() if not some]
        if empty:
            raise DataError(
                f"data set '{self.name}': {len(empty):,} of {len(files):,} files of captions are empty: "
                f"{name_some(empty)}; unpack cvpr2016_flowers.tar.gz again"
            )
        return captions
