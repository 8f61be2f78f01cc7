"""Measures scores of finished runs and of images, and caches the results.

The cache key of a result is a hash of the checkpoint (or of the images), the score's settings, the content of the files
that they name, the real images, and the versions of the packages that compute it.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from genprior.data.foreign import Images
from genprior.engine.sampling import evaluating, generate
from genprior.errors import CheckpointError, DataError, GenpriorError, ScoreError
from genprior.parts import Dataset, ImageSet, Model, PartConfig, Score
from genprior.registry import installed
from genprior.runs.part_errors import naming_parts
from genprior.runs.run import Run, described_data
from genprior.scoring.context import Extractor, Features, SampleContext, Source
from genprior.scoring.measure import measure_all
from genprior.scoring.samples import too_few_images
from genprior.storage.cache import content_hash, made_once
from genprior.storage.checkpoint import recorded_checksum
from genprior.storage.files import write_json
from genprior.tables.columns import Measured, Missed, settings_of
from genprior.version import __version__

__all__ = ["Real", "Scorer"]

T = TypeVar("T")
_DRAW_SEED = 0
"""Seed of the permutation of images of which there are more than a score needs."""


class Real:
    """The real images that scores compare with, each split read once, and a cache of what scores compute from them."""

    def __init__(
        self, describe: Callable[[], Mapping[str, Any]], load: Callable[[str], ImageSet], *, divided: bool
    ) -> None:
        """Nothing is read before `described` or `load` is used.

        Args:
            describe: gives name and settings, for tables.
            load: reads a split.
            divided: whether the images are divided into training and held-out images.
        """
        self._describe = describe
        self.divided = divided
        self.facts: Mapping[str, Any] = {}
        self.made: dict[str, Any] = {}
        self.failed: dict[str, GenpriorError] = {}
        self.features: dict[tuple[str, str], Features] = {}
        self._load = load
        self._splits: dict[str, ImageSet] = {}

    @classmethod
    def of_dataset(cls, config: PartConfig) -> Real:
        """The images of a data set, given by its settings."""
        dataset: Dataset = config.make()

        def describe() -> Mapping[str, Any]:
            try:
                content = dataset.files_hash()
            except DataError:  # the images are gone, which only matters to a score that must be measured
                content = None
            return described_data(config, content)

        real = cls(describe, dataset.load, divided=True)
        real.facts = dataset.facts
        return real

    @classmethod
    def of_images(cls, images: Images) -> Real:
        """A folder or file of images; both the training and the test split are all of them."""

        def load(split: str) -> ImageSet:
            if split not in ("train", "test"):
                raise DataError(f"{images.path} is not divided into splits, so it has no split '{split}'")
            return ImageSet(images.images, torch.zeros(len(images.images), dtype=torch.int64), ())

        described = {"name": str(images.path), "images": len(images.images), "hash": images.key}
        return cls(lambda: described, load, divided=False)

    @cached_property
    def described(self) -> Mapping[str, Any]:
        """Name and settings, with a hash of the user's own images."""
        return self._describe()

    def load(self, split: str) -> ImageSet:
        """A split, read once.

        Raises:
            DataError: the split does not exist or cannot be read.
        """
        if split not in self._splits:
            self._splits[split] = self._load(split)
        return self._splits[split]

    @cached_property
    def key(self) -> str:
        """A hash of all splits."""
        parts: list[Tensor | str] = []
        for split in ("train", "test", "validation"):
            with contextlib.suppress(DataError):
                images = self.load(split)
                parts += [split, images.images, images.labels, *images.classes]
        return content_hash(*parts)

    def settings(self, config: PartConfig) -> PartConfig:
        """A score's settings on these images: images that are not divided into splits are used as a whole."""
        if self.divided:
            return config
        score: Score = config.make()
        return score.on_undivided()


class _Context(SampleContext):
    """A context that shares results on real images with other contexts."""

    def __init__(self, real: Real, sampler: Callable[[int], Tensor], **more: Any) -> None:
        super().__init__(sampler, real.load, **more)
        self._real = real
        self._made = real.made

    def once(self, key: str, make: Callable[[], T]) -> T:
        # What failed once is not tried again: a download may take long to fail.
        if key in self._real.failed:
            raise self._real.failed[key]
        try:
            return super().once(key, make)
        except GenpriorError as error:
            self._real.failed[key] = error
            raise

    def features(self, extractor: Extractor, source: Source, n: int | None = None) -> Features:
        self.extractors[extractor.key] = None
        if source in ("generated", "all"):
            return super().features(extractor, source, n)
        place = (extractor.key, source if self._real.divided else "whole")
        if place not in self._real.features:
            self._real.features[place] = super().features(extractor, source, n)
        return self._real.features[place]


class Scorer:
    """Measures scores: results are cached in a folder, failures for the life of the process."""

    def __init__(self, device: torch.device, cache: Path) -> None:
        """Set the device and the cache folder.

        Args:
            device: the device of models and extractors.
            cache: the cache folder; results are kept in its subfolder `scores`.
        """
        self.device = device
        self.cache = cache
        self._missed: dict[str, str] = {}
        self._notes: dict[str, None] = {}

    @property
    def notes(self) -> list[str]:
        """Which images of the scored folders and files were not used."""
        return list(self._notes)

    def of_run(self, run: Run, real: Real, configs: Sequence[PartConfig]) -> list[Measured | Missed]:
        """Scores of a finished run, from its newest checkpoint and under its seed, as at the end of training."""
        checkpoint = run.checkpoint
        if checkpoint is None:
            reason = f"the finished run {run.folder} has no checkpoint to sample from; train it again"
            return [Missed(config, real.described, reason) for config in configs]

        measured = run.unread()

        def model() -> Model:
            return measured.model.to(self.device)

        @contextlib.contextmanager
        def trained() -> Iterator[Model]:
            with evaluating(model()):
                yield model()

        context = _Context(
            real,
            lambda n: generate(model(), n, seed=run.seed),
            device=self.device,
            seed=run.seed,
            cache=self.cache,
            trained=trained,
        )
        try:
            weights = recorded_checksum(checkpoint)
        except CheckpointError as error:
            return [Missed(config, real.described, str(error)) for config in configs]
        subject = (
            "run",
            weights,
            json.dumps(run.plan.model.model_dump(mode="json"), sort_keys=True),
            str(run.seed),
        )
        return self._all(context, real, configs, subject)

    def of_images(self, images: Images, real: Real, configs: Sequence[PartConfig]) -> list[Measured | Missed]:
        """Scores of images, which are used as the samples of a model.

        Of more images than a score asks for, that many are drawn under a fixed seed: images in class folders come class
        by class, so that the first ones would be of few classes.
        """
        available = len(images.images)
        if images.left_out:
            self._notes[f"{images.path}: {available:,} images are read; left out: {images.left_out}."] = None
        places: dict[int, list[int]] = {}
        outcomes: dict[int, Measured | Missed] = {}
        for place, config in enumerate(configs):
            score: Score = config.make()
            if score.samples is not None and score.samples > available:
                outcomes[place] = Missed(config, real.described, too_few_images(score, available))
            else:
                places.setdefault(score.samples or available, []).append(place)
        for n, some in places.items():
            drawn, subject = images.images, ("images", images.key)
            if n < available:
                # In the order of the names, so that a score of all images does not depend on the draw.
                chosen = np.sort(np.random.RandomState(_DRAW_SEED).permutation(available)[:n])
                drawn, subject = drawn[torch.from_numpy(chosen)], ("images drawn", images.key)
                self._notes[f"{images.path}: {n:,} of {available:,} images are scored, drawn under a fixed seed."] = (
                    None
                )
            measured = self._all(self._context_of(drawn, real), real, [configs[place] for place in some], subject)
            outcomes.update(zip(some, measured, strict=True))
        return [outcomes[place] for place in range(len(configs))]

    def _context_of(self, images: Tensor, real: Real) -> _Context:
        available = len(images)

        def sampler(n: int) -> Tensor:
            if n > available:
                raise ScoreError(f"has {available:,} images, {n:,} are needed")
            return _with_channels_of(images, real.load("train").images, real)[:n]

        def trained() -> contextlib.AbstractContextManager[Model]:
            raise ScoreError("this score needs the model, but there are only images")

        return _Context(real, sampler, device=self.device, seed=0, cache=self.cache, trained=trained)

    def _all(
        self, context: _Context, real: Real, configs: Sequence[PartConfig], subject: tuple[str, ...]
    ) -> list[Measured | Missed]:
        # The score with the largest number of samples is measured first, so that the model is sampled only once.
        scores: list[Score] = [config.make() for config in configs]
        order = sorted(range(len(configs)), key=lambda place: -(scores[place].samples or 0))
        outcomes = {place: self._one(context, real, real.settings(configs[place]), subject) for place in order}
        return [outcomes[place] for place in range(len(configs))]

    def _one(self, context: _Context, real: Real, config: PartConfig, subject: tuple[str, ...]) -> Measured | Missed:
        settings = json.dumps(settings_of(config), sort_keys=True)
        try:
            with naming_parts():
                key = content_hash(*subject, settings, real.key, *_versions(config))
        except GenpriorError as error:
            return Missed(config, real.described, " ".join(str(error).split()))
        if key in self._missed:
            return Missed(config, real.described, self._missed[key])

        def make() -> dict[str, Any]:
            with naming_parts():
                try:
                    values = measure_all([config.make()], context, "")
                except OSError as error:
                    raise ScoreError(f"a file that the score needs cannot be read or written: {error}") from error
            return {
                "score": json.loads(settings),
                "values": values,
                "extractor": " and ".join(context.extractors),
                "subject": list(subject),
            }

        try:
            kept = made_once(self.cache / "scores" / f"{key}.json", _read, make, write_json)
        except GenpriorError as error:
            reason = re.sub(r"^: (score '[^']*': )?", "", str(error))
            self._missed[key] = " ".join(reason.split())
            return Missed(config, real.described, self._missed[key])
        return Measured(config, real.described, kept["values"], kept["extractor"])


def _versions(config: PartConfig) -> tuple[str, ...]:
    """The versions of the packages that a score depends on."""
    return (
        __version__,
        metadata.version("torch-fidelity"),
        installed().origin(config.part).distribution,
    )


def _with_channels_of(images: Tensor, real: Tensor, source: Real) -> Tensor:
    """Images with as many channels as the real ones: one channel is repeated, three equal channels are reduced to one.

    Raises:
        ScoreError: their size or their number of channels differs.
    """
    (channels, *size), (real_channels, *real_size) = images.shape[1:], real.shape[1:]
    if size != real_size:
        raise ScoreError(
            f"its images are {size[0]}x{size[1]} and those of {source.described['name']} "
            f"{real_size[0]}x{real_size[1]}; scores compare images of equal size; resize them"
        )
    if channels == real_channels:
        return images
    if (channels, real_channels) == (1, 3):
        return images.expand(-1, real_channels, -1, -1)
    if (channels, real_channels) == (3, 1):
        if bool((images == images[:, :1]).all()):
            return images[:, :1]
        raise ScoreError(f"its images are in colour, and those of {source.described['name']} are grey; convert them")
    raise ScoreError(
        f"its images have {channels} channels, and those of {source.described['name']} have {real_channels}; scores "
        "compare images of equal channels, and make grey ones colour or colour without colours grey; convert them"
    )


def _read(path: Path) -> dict[str, Any] | None:
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return result if isinstance(result["values"], dict) and isinstance(result["extractor"], str) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
