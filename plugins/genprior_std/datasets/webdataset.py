"""Shards in the WebDataset format, of any number of images."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field

from genprior import (
    DataError,
    Dataset,
    ImageSet,
    ImageSource,
    LocalPath,
    PartConfig,
    StreamedImages,
    check_levels,
    content_hash,
    hash_files,
)
from genprior_std.datasets.caption_texts import check_column
from genprior_std.datasets.shards import Sample, samples_of, shard_files
from genprior_std.datasets.shared import (
    MOST_UNNAMED_CLASSES,
    check_split,
    decode_one,
    file_state,
    hold_out,
    name_some,
    size_and_time,
    streaming_error,
)

__all__ = ["WebDataset"]


class _Listing(NamedTuple):
    """The shards of a split, and the samples of each."""

    shards: list[Path]
    samples: list[tuple[Sample, ...]]


class WebDataset(Dataset):
    """Images in shards of the WebDataset format: tars of `000.jpg`, `000.cls`, `000.txt`, ...

    A sample has one picture, and may have a label, the number of its class in `cls`, and captions, in `txt` (one) or in
    `json` under `text`, `caption` or `captions`; all samples have labels or none has, and so with captions. The index
    of the samples is made once a process; pictures are then read at their place in the shard and decoded when they are
    used, so that their order is a function of the run's seed, as that of any other set, and not of a shuffle buffer.
    """

    name = "webdataset"
    locations = ("path", "test")
    reading = ("workers",)

    class Config(PartConfig):
        """Settings of shards."""

        path: LocalPath
        """A shard, a folder of `.tar` files, or a name with braces, such as `shards/train-{000..099}.tar`."""
        test: LocalPath | None = None
        """The shards of the split `test`, named in the same way; without it, a share of the samples is held out."""
        size: int = Field(default=32, ge=1)
        """Height and width of the images in pixels: the shorter side is scaled to it, then the centre is cropped."""
        channels: Literal[1, 3] = 3
        """1 for grey, 3 for RGB."""
        test_fraction: float = Field(default=0.1, ge=0, lt=1)
        """The share of samples held out for `test`, where `test` names no shards."""
        classes: tuple[str, ...] = ()
        """The names of the classes in the order of their numbers; without them, the numbers are the names."""
        captions: bool = True
        """Whether texts beside the pictures are read; false ignores them."""
        caption_column: str | None = Field(default=None, min_length=1)
        """The key of the captions in `json`; None takes the one called text, caption or captions."""
        workers: int = Field(default=2, ge=0, le=256)
        """How many threads decode batches ahead of training; 0 decodes between steps."""

    def load(self, split: str) -> ImageSet:
        """The split `train` or `test`.

        Raises:
            DataError: there is no such split; shards are missing, damaged or hold something else; or some samples have
                a label or captions and others do not.
        """
        check_split(self.name, split)
        listings = self._listings()
        labelled = _all_or_none(listings, lambda sample: sample.label is not None, "label (.cls)")
        captioned = _all_or_none(listings, lambda sample: bool(sample.captions), "caption (.txt, .json)")
        classes = self._classes(listings) if labelled else ()
        listing = listings.get(split, listings["train"])
        samples = [sample for some in listing.samples for sample in some]
        images = check_levels(self._streamed(listing), f"shards {self.config.path}")
        labels = torch.tensor([sample.label or 0 for sample in samples], dtype=torch.int64)
        captions = tuple(sample.captions for sample in samples) if captioned else ()
        found = ImageSet(images, labels, classes, captions)
        if "test" in listings:
            return found
        return hold_out(found, split, fraction=self.config.test_fraction, name=f"shards {self.config.path}")

    def files_hash(self) -> str:
        """A hash of the content of the shards, in their order.

        Raises:
            DataError: shards are missing or cannot be read.
        """
        texts: list[str] = []
        for split, path in self._paths().items():
            texts += [split, *hash_files(shard_files(path), f"shards {path}")]
        return content_hash(*texts)

    def _paths(self) -> dict[str, Path]:
        given = {"train": self.config.path, "test": self.config.test}
        return {split: path for split, path in given.items() if path is not None}

    def _listings(self) -> dict[str, _Listing]:
        check_column(self.name, self.config.caption_column, captions=self.config.captions)
        listings = {}
        files = {split: shard_files(path) for split, path in self._paths().items()}
        _check_disjoint(files)
        for split, shards in files.items():
            settings = (self.config.captions, self.config.caption_column)
            listings[split] = _Listing(shards, [samples_of(shard, *settings) for shard in shards])
        return listings

    def _classes(self, listings: Mapping[str, _Listing]) -> tuple[str, ...]:
        names: tuple[str, ...] = self.config.classes
        highest = max(sample.label or 0 for each in listings.values() for some in each.samples for sample in some)
        if names and highest >= len(names):
            raise DataError(
                f"shards {self.config.path}: labels run up to {highest}, but classes has {len(names)} names; give "
                f"{highest + 1} names, or leave classes out"
            )
        if not names and highest >= MOST_UNNAMED_CLASSES:
            raise DataError(
                f"shards {self.config.path}: labels run up to {highest:,}; number the classes from 0, or name them in "
                "classes"
            )
        return names or tuple(str(number) for number in range(highest + 1))

    def _streamed(self, listing: _Listing) -> StreamedImages:
        size, channels = self.config.size, self.config.channels
        states = [file_state(shard) for shard in listing.shards]
        numbers = np.repeat(np.arange(len(listing.shards)), [len(some) for some in listing.samples])
        samples = [sample for some in listing.samples for sample in some]

        def read(place: int) -> np.ndarray:
            number, sample = numbers[place], samples[place]
            shard = listing.shards[number]
            try:
                with shard.open("rb") as file:
                    changed = size_and_time(shard) != states[number]
                    file.seek(sample.offset)
                    content = file.read(sample.size)
                image = None if changed else decode_one(io.BytesIO(content), size=size, channels=channels)
            # Pillow's decoders raise many kinds of errors for a broken file; all mean that this one cannot be used.
            except Exception as problem:
                raise streaming_error(f"{shard}: the picture of sample {sample.name!r}", problem) from None
            if image is None:
                raise DataError(f"{shard} has changed while it was in use; restore it to resume, or begin a new run")
            return image

        called = f"shards {self.config.path}"
        source = ImageSource(called, (channels, size, size), read, self.config.workers)
        return StreamedImages.all_of(source, len(samples))


def _check_disjoint(files: Mapping[str, list[Path]]) -> None:
    """Refuse shards that are named twice.

    Raises:
        DataError: a split names a shard twice, or `test` names one of `train`, of which scores would be of images that
            were trained on.
    """
    for split, shards in files.items():
        twice = [shard for shard, times in Counter(shards).items() if times > 1]
        if twice:
            key = "path" if split == "train" else split
            raise DataError(f"data set 'webdataset': {key} names a shard twice: {name_some(twice)}; name each once")
    train = {shard.resolve() for shard in files["train"]}
    both = [shard for shard in files.get("test", ()) if shard.resolve() in train]
    if both:
        raise DataError(
            f"data set 'webdataset': path and test both name {name_some(both)}; scores would be of images that were "
            "trained on: name other shards in one of them, such as train-{000..099}.tar, or leave test out"
        )


def _all_or_none(listings: Mapping[str, _Listing], has: Callable[[Sample], bool], what: str) -> bool:
    """Whether all samples have something.

    Raises:
        DataError: some have and others do not; the message names these.
    """
    without: list[str] = []
    total = 0
    for listing in listings.values():
        for shard, samples in zip(listing.shards, listing.samples, strict=True):
            total += len(samples)
            without += [f"{sample.name!r} in {shard.name}" for sample in samples if not has(sample)]
    if without and len(without) < total:
        many = f"{len(without):,} of {total:,} samples {'has' if len(without) == 1 else 'have'}"
        advice = "" if "cls" in what else ". captions = false ignores captions"
        raise DataError(f"{many} no {what}: {name_some(without)}; give every sample one, or none{advice}")
    return not without
