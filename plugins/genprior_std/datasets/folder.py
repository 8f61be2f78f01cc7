"""A folder of a user's own images."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field, model_validator

from genprior import (
    PICTURE_KINDS,
    DataError,
    Dataset,
    ImageSet,
    ImageSource,
    LocalPath,
    PartConfig,
    PictureFiles,
    StreamedImages,
    check_levels,
    content_hash,
    hash_file,
    hash_files,
    list_pictures,
    notice,
    read_cache,
    write_cache,
)
from genprior_std.datasets.caption_texts import check_column
from genprior_std.datasets.captions import Captions, read_captions
from genprior_std.datasets.shared import (
    check_split,
    decode,
    decode_one,
    file_state,
    hold_out,
    name_some,
    size_and_time,
    streaming_error,
)

__all__ = ["Folder"]

_CACHE_FORMAT = 2
_SPLITS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""The splits, and the names of their folders, in any case."""


class _Listing(NamedTuple):
    """Image files below a folder, the class and the captions of each, and the class names."""

    root: Path
    files: list[Path]
    labels: list[int]
    classes: tuple[str, ...]
    captions: tuple[tuple[str, ...], ...] = ()
    """The captions of each file; empty if none are read."""

    def contents(self, hashes: Callable[[Sequence[Path]], Iterable[str]]) -> list[str]:
        """The path below the folder, the label and the hash of the content of each file, after the class names."""
        described = [
            f"{file.relative_to(self.root).as_posix()} {label} {content}"
            for file, label, content in zip(self.files, self.labels, hashes(self.files), strict=True)
        ]
        return [*self.classes, *described]


class Folder(Dataset):
    """Images of a folder: one sub-folder per class, or flat and without labels.

    Sub-folders `train` and `test` are the splits, and so is `val`, which serves as `test` where there is no `test`;
    else a fixed random share of the images is held out for `test`. Image files that Pillow can read are used, and links
    are followed; hidden files and folders and other file types are left out, counted and named. Decoded images are
    cached under a hash of the files' content, or, with `stream`, decoded when they are used and not kept. Captions are
    read from `captions.jsonl`, `metadata.csv` or `metadata.jsonl` in the folder, or in each folder of a split, as
    Hugging Face's ImageFolder has them: a line has `file_name`, the path from that file, and a text.
    """

    name = "folder"
    locations = ("path",)
    reading = ("stream", "workers")

    class Config(PartConfig):
        """Settings of a folder of images."""

        retired: ClassVar[Mapping[str, Any]] = {"split_seed": 0}

        path: LocalPath
        """The folder; a relative path starts at the current directory, and is kept as an absolute one."""
        size: int = Field(default=32, ge=1)
        """Height and width of the images in pixels: the shorter side is scaled to it, then the centre is cropped."""
        channels: Literal[1, 3] = 3
        """1 for grey, 3 for RGB."""
        test_fraction: float = Field(default=0.1, ge=0, lt=1)
        """The share of images held out for `test`, where the folder has no sub-folders for the splits."""
        captions: bool = True
        """Whether captions beside the images are read; false ignores the files that hold them."""
        caption_column: str | None = Field(default=None, min_length=1)
        """The column of the captions; None takes the one called text, caption or captions."""
        stream: bool = False
        """Whether images are decoded when they are used, for sets larger than memory; the images are the same."""
        workers: int = Field(default=2, ge=0, le=256)
        """With `stream`, how many threads decode batches ahead of training; 0 decodes between steps."""

        @model_validator(mode="after")
        def _workers_stream(self) -> Folder.Config:
            if self.workers != 2 and not self.stream:
                raise ValueError(
                    f"workers = {self.workers} is for streamed images, and the others are decoded once by all cores; "
                    "set stream = true, or leave workers out"
                )
            return self

    def load(self, split: str) -> ImageSet:
        """Read the split `train` or `test`, or `validation` where the folder has `train`, `val` and `test`.

        Raises:
            DataError: there is no such split; the folder is missing or has no images; images or captions cannot be
                read; an image has no caption where others have one; or nothing is left for the split.
        """
        listings = self._listings()
        check_split(self.name, split, tuple(listings) if len(listings) > 1 else ("train", "test"))
        if len(listings) > 1:
            return self._decoded(listings[split])
        whole = self._decoded(listings["all"])
        return hold_out(whole, split, fraction=self.config.test_fraction, name=f"folder {self.config.path}")

    def files_hash(self) -> str:
        """A hash of the content of the images, their paths below the folder, their classes and their captions.

        Raises:
            DataError: the folder is missing or has no images, or files cannot be read.
        """
        texts: list[str] = []
        for split, listing in self._listings().items():
            texts += [split, *listing.contents(self._hashes), *map(json.dumps, listing.captions)]
        return content_hash(*texts)

    def _hashes(self, files: Sequence[Path]) -> list[str]:
        """The hash of the content of each file; of streamed ones, which may be many, they are remembered on disk."""
        if self.config.stream:
            return hash_files(files, f"folder {self.config.path}")
        with ThreadPoolExecutor() as pool:
            return list(pool.map(hash_file, files))

    def _listings(self) -> dict[str, _Listing]:
        """The images of each split, or of `all` if the folder is not divided."""
        root: Path = self.config.path
        if not root.is_dir():
            what = "is a file" if root.exists() else "does not exist"
            raise DataError(f"data set 'folder': path = {root} {what}; give a folder of images")
        found = list_pictures(root)
        folders = _split_folders(found)
        captions = self._captions(found, [root, *(folder for _, folder in folders)])
        left_out = [found.left_out] if found.left_out else []
        if folders:
            files = {split: [file for file in found.files if folder in file.parents] for split, folder in folders}
            train = _list(dict(folders)["train"], files["train"])
            listings = {split: _list(folder, files[split], train.classes) for split, folder in folders}
            beside = len(found.files) - sum(len(each) for each in files.values())
            names = ", ".join(folder.name for _, folder in folders)
            many = "image" if beside == 1 else "images"
            left_out += [f"{beside:,} {many} beside the folders {names}"] if beside else []
        else:
            listings = {"all": _list(root, found.files)}
        if left_out:
            read = sum(len(listing.files) for listing in listings.values())
            notice(
                f"folder {root}: {read:,} image{' is' if read == 1 else 's are'} read; left out: {', '.join(left_out)}"
            )
        return listings if captions is None else _with_captions(listings, captions, root)

    def _captions(self, found: PictureFiles, folders: Sequence[Path]) -> Captions | None:
        """The captions beside the images, if they are to be read and there are any."""
        check_column(self.name, self.config.caption_column, captions=self.config.captions)
        if not self.config.captions:
            return None
        try:
            captions = read_captions(folders, found.files, self.config.caption_column)
        except DataError as problem:
            raise DataError(f"{problem}. captions = false ignores captions") from None
        if captions is None:
            return None
        found.others -= Counter(file.suffix for file in captions.files)
        names = ", ".join(file.relative_to(found.folder).as_posix() for file in captions.files)
        notice(f"folder {found.folder}: captions are read from {names}")
        return captions

    def _decoded(self, listing: _Listing) -> ImageSet:
        """The listed images, from the cache if files of the same content have been decoded before.

        The cache holds no captions, which are quick to read, so changed captions decode nothing again.
        """
        name = f"folder {listing.root}"
        labels = torch.tensor(listing.labels, dtype=torch.int64)
        if self.config.stream:
            images = check_levels(self._streamed(listing.files, name), name)
            return ImageSet(images, labels, listing.classes, listing.captions)
        key = content_hash(
            str((_CACHE_FORMAT, self.config.size, self.config.channels)), *listing.contents(self._hashes)
        )
        cached_as = f"folder-{key}"
        found = read_cache(cached_as, "all")
        if found is None:
            images = decode(listing.files, size=self.config.size, channels=self.config.channels, name=name)
            found = ImageSet(check_levels(images, name), labels, listing.classes)
            write_cache(cached_as, "all", found)
        return found._replace(captions=listing.captions)

    def _streamed(self, files: Sequence[Path], name: str) -> StreamedImages:
        """The images of the files, each as `decode` makes it, decoded when they are used."""
        size, channels = self.config.size, self.config.channels
        with ThreadPoolExecutor() as pool:
            listed = list(pool.map(file_state, files))

        def read(place: int) -> np.ndarray:
            file = files[place]
            try:
                state = size_and_time(file)
                image = decode_one(file, size=size, channels=channels) if state == listed[place] else None
            # Pillow's decoders raise many kinds of errors for a broken file; all mean that this one cannot be used.
            except Exception as problem:
                raise streaming_error(f"{name}: {file}", problem) from None
            if image is None:
                raise DataError(
                    f"{name}: {file} has changed while it was in use; restore it to resume, or begin a new run"
                )
            return image

        return StreamedImages.all_of(ImageSource(name, (channels, size, size), read, self.config.workers), len(files))


def _with_captions(listings: Mapping[str, _Listing], captions: Captions, root: Path) -> dict[str, _Listing]:
    """The listings with the captions of their images.

    Raises:
        DataError: an image has no caption.
    """
    files = [file for listing in listings.values() for file in listing.files]
    without = [file.relative_to(root).as_posix() for file in files if file not in captions.of]
    if without:
        many = f"{len(without):,} of {len(files):,} images {'has' if len(without) == 1 else 'have'}"
        names = ", ".join(file.relative_to(root).as_posix() for file in captions.files)
        raise DataError(
            f"folder {root}: {many} no caption in {names}: {name_some(without)}; give each image a line, or remove "
            "it. captions = false ignores captions"
        )
    return {
        split: listing._replace(captions=tuple(captions.of[file] for file in listing.files))
        for split, listing in listings.items()
    }


def _split_folders(found: PictureFiles) -> list[tuple[str, Path]]:
    """The splits and their folders; none if the folder is not divided.

    Raises:
        DataError: there is only a part of the splits, or two folders for one.
    """
    root = found.folder
    folders = sorted(one for one in root.iterdir() if one.is_dir() and not one.name.startswith("."))
    of_splits = {
        split: [folder for folder in folders if folder.name.lower() in names] for split, names in _SPLITS.items()
    }
    present = [folder for some in of_splits.values() for folder in some]
    if not (of_splits["train"] and (of_splits["validation"] or of_splits["test"])):
        # A class may be called train, beside bus and car.
        if present and len(present) == len(folders) and not any(file.parent == root for file in found.files):
            names = ", ".join(folder.name for folder in present)
            raise DataError(
                f"folder {root}: of the splits there is only {names}; add the folders train and test (or val), or give "
                f"path = {present[0]}, of which test_fraction is held out"
            )
        return []
    for split, some in of_splits.items():
        if len(some) > 1:
            names = ", ".join(folder.name for folder in some)
            raise DataError(f"folder {root}: the folders {names} are the same split '{split}'; keep or rename one")
    if not of_splits["test"]:
        (val,) = of_splits.pop("validation")
        notice(f"folder {root}: {val.name} is the split 'test', because there is no folder test")
        of_splits["test"] = [val]
    return [(split, some[0]) for split, some in of_splits.items() if some]


def _list(root: Path, files: Sequence[Path], classes: tuple[str, ...] | None = None) -> _Listing:
    """The images of `root`: one sub-folder per class, or flat.

    Args:
        root: the folder.
        files: the images in it and below it.
        classes: the class names that labels count in; None takes the sub-folders' names, sorted.

    Raises:
        DataError: no images; images beside class folders; an empty class folder; or a class not in `classes`.
    """
    folders = sorted(one for one in root.iterdir() if one.is_dir() and not one.name.startswith("."))
    flat = sorted(file for file in files if file.parent == root)
    by_class: dict[str, list[Path]] = {one.name: [] for one in folders}
    for file in sorted(files):
        if file.parent != root:
            by_class[file.relative_to(root).parts[0]].append(file)
    if not files:
        raise DataError(
            f"folder {root}: there are no images in it; {PICTURE_KINDS} are read, flat or in one folder a class"
        )
    if flat and any(by_class.values()):
        raise DataError(
            f"folder {root}: there are {len(flat)} images beside the class folders {', '.join(by_class)}; "
            "put each image into a class folder, or all of them flat into one folder"
        )
    if flat:
        if classes:
            raise DataError(f"folder {root}: its images are flat, but those of 'train' are in class folders")
        return _Listing(root, flat, [0] * len(flat), ())
    names = tuple(by_class) if classes is None else classes
    empty = [name for name, of_class in by_class.items() if not of_class]
    if empty:
        raise DataError(f"folder {root}: the class folders {', '.join(empty)} have no images; fill or remove them")
    unknown = [name for name in by_class if name not in names]
    if unknown:
        raise DataError(
            f"folder {root}: the classes {', '.join(unknown)} are not in 'train'; "
            f"possible: {', '.join(names) or 'none, its images are flat'}"
        )
    placed = [(file, names.index(name)) for name, of_class in by_class.items() for file in of_class]
    return _Listing(root, [file for file, _ in placed], [label for _, label in placed], names)
