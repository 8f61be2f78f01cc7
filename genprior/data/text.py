"""Captions as vectors, embedded once before training."""

from __future__ import annotations

import torch
from torch import Tensor

from genprior.parts import Embedder, ImageSet

__all__ = ["EmbeddedCaptions"]

_CHUNK = 10_000


class EmbeddedCaptions:
    """The vectors of all captions of a set of images, of which each image of a batch gets one."""

    def __init__(self, vectors: Tensor, counts: Tensor) -> None:
        """Hold the vectors.

        Args:
            vectors: [m, size], the captions of the first image, then of the second, ...
            counts: int64 [n], the number of captions of each image, at least 1.
        """
        self.vectors = vectors
        self.counts = counts
        self.starts = counts.cumsum(0) - counts

    @classmethod
    def of(cls, images: ImageSet, embedder: Embedder) -> EmbeddedCaptions:
        """Embed every caption of the images, a repeated one only once.

        Raises:
            PlanError: a caption cannot be embedded.
        """
        texts = [text for some in images.captions for text in some]
        distinct = list(dict.fromkeys(texts))
        chunks = [embedder.embed(distinct[start : start + _CHUNK]) for start in range(0, len(distinct), _CHUNK)]
        place = {text: index for index, text in enumerate(distinct)}
        vectors = torch.cat(chunks)[torch.tensor([place[text] for text in texts])]
        return cls(vectors, torch.tensor([len(some) for some in images.captions]))

    def to(self, device: torch.device) -> EmbeddedCaptions:
        """The same on another device."""
        return EmbeddedCaptions(self.vectors.to(device), self.counts.to(device))

    def choose(self, images: Tensor, uniform: Tensor) -> Tensor:
        """The vector of one caption of each image, [n, size].

        Args:
            images: the indices int64 [n] of the images.
            uniform: [n], numbers in [0, 1), which select the caption.
        """
        counts = self.counts.index_select(0, images)
        which = (uniform * counts).to(torch.int64).minimum(counts - 1)
        return self.vectors.index_select(0, self.starts.index_select(0, images) + which)
