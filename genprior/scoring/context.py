"""What it takes to score a model: its images, real images, and the features of both, each computed once.

A score asks a `SampleContext` for features by extractor and by source; what two scores share is computed once. Images
are uint8 [n, c, h, w] on the host; features and logits are float32 on the host.
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
    """What an extractor says of n images: `features` [n, f] and class `logits` [n, k], float32."""

    features: Tensor
    logits: Tensor

    def first(self, n: int) -> Features:
        """Those of the first n images."""
        return Features(self.features[:n], self.logits[:n])


class Extractor(Protocol):
    """A network that scores look through."""

    key: str
    """What identifies it, a hash of its weights included: other weights give other features under another key."""
    title: str
    """How tables call it."""
    batch: int
    """How many images it takes at a time."""
    keep: bool
    """Whether it is slow enough that the features of real images are worth keeping on disk."""

    def __call__(self, images: Tensor) -> Features:
        """Features of images uint8 [n, c, h, w] on the host, n at most `batch`."""


class SampleContext(ScoreContext):
    """The images of one model and the real ones, with every feature computed once.

    Generated images are the first n of one fixed sequence; they are sampled once, for the largest n asked for, and
    kept. Features are kept by (extractor key, source), and an extractor's key contains a hash of its weights.
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
        """Remember how to get images; nothing is sampled or read before it is asked for.

        Args:
            sampler: makes n images, uint8 [n, c, h, w]; asked again for more, it begins with the same images.
            load: reads a split of the data set.
            device: where extractors run.
            seed: what a score draws under.
            cache: the folder for what outlives the process.
            trained: the model inside a `with` block, as scores need it; None where there are only images.
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

    def generated(self, n: int) -> Tensor:
        """The first n generated images, uint8 [n, c, h, w].

        Raises:
            ScoreError: the sampler gives something else than n images, or another sequence than before.
        """
        if n < 1:
            raise ScoreError(f"a score needs at least one image; {n} were asked for")
        if self._samples is None or len(self._samples) < n:
            images = self._sampler(n).cpu()
            if images.dtype != torch.uint8 or images.ndim != 4 or len(images) != n:
                raise ScoreError(
                    f"{n} images were asked of the sampler as uint8 [{n}, c, h, w]; "
                    f"it gave {images.dtype} {list(images.shape)}"
                )
            before = self._samples
            if before is not None and not torch.equal(images[: len(before)], before):
                raise ScoreError(
                    f"the sampler gave other images when asked for {n} than when asked for {len(before)}, so scores "
                    "would be of different images; make it draw under a fixed seed in batches of a fixed size"
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
            raise ScoreError("this score looks into the model, and here are only its images; score the run itself")
        return self._trained()

    def once(self, key: str, make: Callable[[], T]) -> T:
        """What `make` makes, made once for each key: an extractor that several scores look through, for example."""
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made

    def features(self, extractor: Extractor, source: Source, n: int | None = None) -> Features:
        """What `extractor` says of a source's images, computed once for each image.

        Args:
            extractor: the network; its `key` identifies it.
            source: "generated", or the real split "train" or "test", or "all" for both splits.
            n: how many generated images; real splits are whole.

        Returns:
            float32 on the host.

        Raises:
            ScoreError: generated images are asked for without a number.
        """
        if source == "all":
            parts = [self.features(extractor, "train"), self.features(extractor, "test")]
            return Features(torch.cat([p.features for p in parts]), torch.cat([p.logits for p in parts]))
        place = (extractor.key, source)
        have = self._features.get(place)
        if source == "generated":
            if n is None:
                raise ScoreError("features of generated images need a number of images")
            done = 0 if have is None else len(have.features)
            if have is None or done < n:
                more = _extract(extractor, self.generated(n)[done:])
                have = more if have is None else Features(*(torch.cat(pair) for pair in zip(have, more, strict=True)))
                self._features[place] = have
            return have.first(n)
        if have is None:
            images = self.real(source).images
            have = self._kept(extractor, images) if extractor.keep else _extract(extractor, images)
            self._features[place] = have
        return have

    def _kept(self, extractor: Extractor, images: Tensor) -> Features:
        path = self.cache / "features" / f"{extractor.key}-{content_hash(images)}.safetensors"
        tensors, _ = keep_on_disk(path, lambda: (_extract(extractor, images)._asdict(), {}))
        return Features(**tensors)


def _extract(extractor: Extractor, images: Tensor) -> Features:
    done = [extractor(batch) for batch in torch.split(images, extractor.batch)]
    return Features(
        torch.cat([d.features.float().cpu() for d in done]), torch.cat([d.logits.float().cpu() for d in done])
    )


def sample_context(context: ScoreContext) -> SampleContext:
    """The context as one that computes features.

    Raises:
        ScoreError: it is another kind of context.
    """
    if not isinstance(context, SampleContext):
        raise ScoreError(
            f"this score looks through a network, so it needs a genprior.SampleContext; got {type(context).__name__}"
        )
    return context
