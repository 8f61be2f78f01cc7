"""A small embedder for tests: it needs no captions to learn from."""

from __future__ import annotations

import zlib

import torch

from genprior.errors import PlanError
from genprior.parts import Embedder, EmbedderState


class HashedWords(Embedder):
    """How often each word occurs, in a column that its checksum chooses."""

    name = "hashed_words"

    def fit(self, captions):
        pass

    def embed(self, sentences):
        vectors = torch.zeros(len(sentences), self.config.size)
        for row, sentence in zip(vectors, sentences, strict=True):
            if not sentence.strip():
                raise PlanError("a sentence is empty")
            for word in sentence.lower().split():
                row[zlib.crc32(word.encode()) % self.config.size] += 1
        return vectors

    def state(self):
        return EmbedderState({}, {})

    def restore(self, state):
        pass
