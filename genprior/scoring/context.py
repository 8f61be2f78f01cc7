"""The input of scores: generated images, real images, and features of both, each computed once.

A score requests features from a `SampleContext` by extractor and source; scores share the features. Images are
uint8 [n, c, h, w] on the host; features and logits are float32 on the host.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from genprior.errors import ScoreError
from genprior.parts import ImageSet, Model, ScoreContext
from genprior.storage.cache import content_hash, keep_on_disk

__all__ = ["Extractor", "Features", "SampleContext", "Source", "sample_context"]

Source = Literal["generated", "train", "test", "all"]
T = TypeVar("T")


class Features(NamedTuple):
    """The output of an extractor for n images: `features` [n, f] and class `logits` [n, k], float32."""

    features: Tensor
    """[n, f]."""
    logits: Tensor
    """[n, k], of the classes that the extractor knows."""

    def first(self, n: int) -> Features:
        """Features and logits of the first n images."""
        return Features(self.features[:n], self.logits[:n])


class Extractor(Protocol):
    """A network from which scores compute features of images."""

    key: str
    """Identifies the network. Contains a hash of its weights, so that other weights have another key."""
    title: str
    """Its name in tables."""
    batch: int
    """The largest number of images per call."""
    keep: bool
    """Whether features of real images are cached on disk, because the network is slow."""

    def __call__(self, images: Tensor) -> Features:
        """Features of images uint8 [n, c, h, w] on the host, n at most `batch`."""


class SampleContext(ScoreContext):
    """The images of one model and the real images, with their features computed once.

    Generated images are the first n of one fixed sequence and are kept; a larger n extends the sequence. Features are
    kept by (extractor key, source), and an extractor's key contains a hash of its weights.
    """

    def __init__(
        self,
        sampler: Callable[[int], Tensor],
        load: Callable[[str], ImageSet],
        *,
        device: torch.device | str,
        seed: int,
        cache: Path,
        trained: Callable[[], AbstractContextManager[Model]] | None = None,
    ) -> None:
        """Nothing is sampled or read before it is requested.

        Args:
            sampler: makes n images, uint8 [n, c, h, w]; a call with a larger n must begin with the same images.
            load: reads a split of the data set.
            device: the device of extractors.
            seed: the seed of random draws of scores.
            cache: the cache folder.
            trained: returns the model inside a `with` block, in evaluation mode; None if there are only images.
        """
        self.device = torch.device(device)
        self.seed = seed
        self.cache = Path(cache)
        self._sampler = sampler
        self._trained = trained
        self._load = load
        self._samples: Tensor | None = None
        self._splits: dict[str, ImageSet] = {}
        self._features: dict[tuple[str, str], Features] = {}
        self._made: dict[str, Any] = {}
        self.extractors: dict[str, None] = {}
        """The keys of the networks that features were taken of, in order; whoever measures a score clears it before."""

    def generated(self, n: int) -> Tensor:
        """The first n generated images, uint8 [n, c, h, w].

        Raises:
            ScoreError: the sampler does not return n images, or they do not begin with the images of an earlier call.
        """
        if n < 1:
            raise ScoreError(f"a score needs at least one image; {n} were requested")
        if self._samples is None or len(self._samples) < n:
            images = self._sampler(n).cpu()
            if images.dtype != torch.uint8 or images.ndim != 4 or len(images) != n:
                raise ScoreError(
                    f"the sampler must return {n} images as uint8 [{n}, c, h, w]; "
                    f"it returned {images.dtype} {list(images.shape)}"
                )
            before = self._samples
            if before is not None and not torch.equal(images[: len(before)], before):
                raise ScoreError(
                    f"the sampler's first images differ between n = {n} and n = {len(before)}, so scores would be of "
                    "different images; let it draw under a fixed seed in batches of a fixed size"
                )
            self._samples = images
        return self._samples[:n]

    def real(self, split: str) -> ImageSet:
        """The data set's split "train", "test", or "validation" where it has one, read once.

        Raises:
            ScoreError: the split is empty.
        """
        if split not in self._splits:
            images = self._load(split)
            if not len(images.images):
                raise ScoreError(f"the data set's '{split}' split has no images to score against")
            self._splits[split] = images
        return self._splits[split]

    def trained(self) -> AbstractContextManager[Model]:
        """The model inside a `with` block: averaged weights where there are any, evaluation mode, no gradients.

        Raises:
            ScoreError: there are only images.
        """
        if self._trained is None:
            raise ScoreError("this score needs the model, but there are only images; score the run instead")
        return self._trained()

    def once(self, key: str, make: Callable[[], T]) -> T:
        """The result of `make`, computed once for each key; for example an extractor that several scores share."""
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made

    def features(self, extractor: Extractor, source: Source, n: int | None = None) -> Features:
        """The features of a source's images, computed once for each image.

        Args:
            extractor: the network; its `key` identifies it.
            source: "generated", or the real split "train" or "test", or "all" for both splits.
            n: the number of generated images; ignored for real splits, which are used as a whole.

        Returns:
            float32 on the host.

        Raises:
            ScoreError: `n` is missing for generated images.
        """
        self.extractors[extractor.key] = None
        if source == "all":
            parts = [self.features(extractor, "train"), self.features(extractor, "test")]
            return Features(torch.cat([p.features for p in parts]), torch.cat([p.logits for p in parts]))
        place = (extractor.key, source)
        known = self._features.get(place)
        if source == "generated":
            if n is None:
                raise ScoreError("features of generated images need a number of images")
            done = 0 if known is None else len(known.features)
            if known is None or done < n:
                more = _extract(extractor, self.generated(n)[done:])
                known = (
                    more if known is None else Features(*(torch.cat(pair) for pair in zip(known, more, strict=True)))
                )
                self._features[place] = known
            return known.first(n)
        if known is None:
            images = self.real(source).images
            known = self._cached(extractor, images) if extractor.keep else _extract(extractor, images)
            self._features[place] = known
        return known

    def _cached(self, extractor: Extractor, images: Tensor) -> Features:
        path = self.cache / "features" / f"{extractor.key}-{content_hash(images)}.safetensors"
        tensors, _ = keep_on_disk(path, lambda: (_extract(extractor, images)._asdict(), {}))
        return Features(**tensors)


def _extract(extractor: Extractor, images: Tensor) -> Features:
    made: Features | None = None
    for number, batch in enumerate(torch.split(images, extractor.batch)):
        start, some = number * extractor.batch, extractor(batch)
        if made is None:
            # Rows of one tensor: small tensors that are kept would lie between the large ones of each batch, in memory
            # that is then not used again, as much as all images take in floating point.
            made = Features(*(torch.empty(len(images), each.shape[1], dtype=torch.float32) for each in some))
        for whole, part in zip(made, some, strict=True):
            whole[start : start + len(batch)] = part
    if made is None:
        raise ScoreError("there are no images to take features of")
    return made


def sample_context(context: ScoreContext) -> SampleContext:
    """The context as a `SampleContext`, which computes features.

    Raises:
        ScoreError: the context is of another class.
    """
    if not isinstance(context, SampleContext):
        raise ScoreError(
            "this score computes features with a network, so it needs a genprior.SampleContext; "
            f"got {type(context).__name__}"
        )
    return context
