"""A small embedder for tests, quick and without a vocabulary."""

from __future__ import annotations

import zlib

import torch

from genprior.errors import PlanError
from genprior.parts import Embedder, EmbedderState


class HashedWords(Embedder):
    """How often each word occurs, in a column that its checksum chooses; once fitted, columns of no caption are 0."""

    name = "hashed_words"

    def __init__(self, config):
        super().__init__(config)
        self.used = torch.ones(config.size)

    def fit(self, captions):
        self.used = (self._counts(captions).sum(0) > 0).float()

    def embed(self, sentences):
        if not all(sentence.strip() for sentence in sentences):
            raise PlanError("a sentence is empty")
        return self._counts(sentences) * self.used

    def state(self):
        return EmbedderState({"used": self.used}, {})

    def restore(self, state):
        self.used = state.tensors["used"]

    def _counts(self, sentences):
        counts = torch.zeros(len(sentences), self.config.size)
        for row, sentence in zip(counts, sentences, strict=True):
            for word in sentence.lower().split():
                row[zlib.crc32(word.encode()) % self.config.size] += 1
        return counts
