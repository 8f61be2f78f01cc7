"""A run of few images, on which the check of a recipe tries scores and hooks."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from genprior.data.images import to_uint8
from genprior.parts import ImageSet, Model
from genprior.randomness import seeded
from genprior.runs.trainer import Trainer

__all__ = ["FEW", "FewImages"]

FEW = 24
"""Images of a rehearsal, generated and real ones."""


class FewImages:
    """A `TrainingRun` of few images, real and generated, which costs little."""

    def __init__(self, trainer: Trainer) -> None:
        """Stand for a trainer that is prepared."""
        self._trainer = trainer
        self.plan = trainer.plan
        self.seed = trainer.seed
        self.folder = trainer.folder
        self.step = trainer.step
        self.ended = False
        self.metrics: list[dict[str, Any]] = []
        self.model: Model = trainer.model
        self._drawn: Tensor | None = None

    def images(self, split: str) -> ImageSet:
        """The first images of a split."""
        return self._trainer.images(split).take(slice(FEW))

    def sample(self, n: int, *, seed: int | None = None, label: int | None = None) -> Tensor:
        """A few images of the model, uint8 [n, c, h, w], repeated to n."""
        if self._drawn is None:
            like = next(self.model.parameters()).new_zeros(FEW)
            with self._trainer.trained() as model, seeded(self.seed, "rehearsal"):
                self._drawn = to_uint8(model.generate(model.condition(like))).cpu()
        return self._drawn[torch.arange(n) % len(self._drawn)]

    def trained(self) -> AbstractContextManager[Model]:
        """The model inside a `with` block, see `TrainingRun`."""
        return self._trainer.trained()
