"""A folder of a user's own images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field

from genprior import DataError, Dataset, ImageSet, PartConfig, read_cache, write_cache
from genprior_std.datasets.shared import check_split, decode, hold_out

__all__ = ["Folder"]

_CACHE_FORMAT = 1


class _Listing(NamedTuple):
    """Image files, the class of each, and the class names."""

    files: list[Path]
    labels: list[int]
    classes: tuple[str, ...]


class Folder(Dataset):
    """Images of a folder: one sub-folder per class, or flat and without labels.

    Where there are `train` and `test` sub-folders, they are the splits; else a fixed random share of the images is held
    out for `test`. Image files that Pillow can read are used; hidden files and other file types are ignored. Decoded
    images are cached under a key made of the files' paths, sizes and times, so a changed folder is decoded anew.
    """

    name = "folder"

    class Config(PartConfig):
        """Settings of a folder of images."""

        retired: ClassVar[Mapping[str, Any]] = {"split_seed": 0}

        path: Path
        """The folder; a relative path starts at the current directory."""
        size: int = Field(default=32, ge=1)
        """Height and width of the images in pixels: the shorter side is scaled to it, then the centre is cropped."""
        channels: Literal[1, 3] = 3
        """1 for grey, 3 for RGB."""
        test_fraction: float = Field(default=0.1, ge=0, lt=1)
        """The share of images held out for `test`, where the folder has no `train` and `test` sub-folders."""

    def load(self, split: str) -> ImageSet:
        """Read the split `train` or `test`.

        Raises:
            DataError: there is no such split; the folder is missing or has no images; images cannot be read; or
                nothing is left for the split.
        """
        check_split(self.name, split)
        root = self.config.path.expanduser()
        if not root.is_dir():
            what = "is a file" if root.exists() else "does not exist"
            raise DataError(f"data set 'folder': path = {root} {what}; give a folder of images")
        if (root / "train").is_dir() and (root / "test").is_dir():
            listing = _list(root / split, _list(root / "train").classes)
            return self._decoded(root / split, listing)
        whole = self._decoded(root, _list(root))
        return hold_out(whole, split, fraction=self.config.test_fraction, name=f"folder {root}")

    def _decoded(self, root: Path, listing: _Listing) -> ImageSet:
        """The listed images, from the cache if they have not changed since they were decoded."""
        key = hashlib.sha256(repr((_CACHE_FORMAT, self.config.size, self.config.channels, listing.classes)).encode())
        for file, label in zip(listing.files, listing.labels, strict=True):
            state = file.stat()
            key.update(repr((file.relative_to(root).as_posix(), label, state.st_size, state.st_mtime_ns)).encode())
        cached_as = f"folder-{key.hexdigest()[:20]}"
        found = read_cache(cached_as, "all")
        if found is None:
            images = decode(listing.files, size=self.config.size, channels=self.config.channels, name=f"folder {root}")
            found = ImageSet(images, torch.tensor(listing.labels, dtype=torch.int64), listing.classes)
            write_cache(cached_as, "all", found)
        return found


def _list(root: Path, classes: tuple[str, ...] | None = None) -> _Listing:
    """Find the images of `root`: one sub-folder per class, or flat.

    Args:
        root: the folder.
        classes: the class names that labels count in; None takes the sub-folders' names, sorted.

    Raises:
        DataError: no images; images beside class folders; an empty class folder; or a class not in `classes`.
    """
    folders = sorted(one for one in root.iterdir() if one.is_dir() and not one.name.startswith("."))
    flat = _images(root, deep=False)
    by_class = {one.name: _images(one, deep=True) for one in folders}
    if not flat and not any(by_class.values()):
        raise DataError(f"folder {root}: there are no images in it; {_KINDS} are read, flat or in one folder a class")
    if flat and any(by_class.values()):
        raise DataError(
            f"folder {root}: there are {len(flat)} images beside the class folders {', '.join(by_class)}; "
            "put each image into a class folder, or all of them flat into one folder"
        )
    if flat:
        if classes:
            raise DataError(f"folder {root}: its images are flat, but those of 'train' are in class folders")
        return _Listing(flat, [0] * len(flat), ())
    names = tuple(by_class) if classes is None else classes
    empty = [name for name, files in by_class.items() if not files]
    if empty:
        raise DataError(f"folder {root}: the class folders {', '.join(empty)} have no images; fill or remove them")
    unknown = [name for name in by_class if name not in names]
    if unknown:
        raise DataError(
            f"folder {root}: the classes {', '.join(unknown)} are not in 'train'; "
            f"possible: {', '.join(names) or 'none, its images are flat'}"
        )
    files = [(file, names.index(name)) for name, images in by_class.items() for file in images]
    return _Listing([file for file, _ in files], [label for _, label in files], names)


_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_KINDS = ", ".join(suffix[1:] for suffix in _SUFFIXES)


def _images(folder: Path, *, deep: bool) -> list[Path]:
    """The image files of a folder, sorted; with `deep`, those of its sub-folders too."""
    found = folder.rglob("*") if deep else folder.iterdir()
    return sorted(one for one in found if one.suffix.lower() in _SUFFIXES and one.name[0] != "." and one.is_file())
