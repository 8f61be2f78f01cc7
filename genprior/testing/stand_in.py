"""A small data set and a small model, for the short runs in which some kinds of parts are checked."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from genprior.errors import DataError, PlanError
from genprior.parts import (
    Asks,
    Batch,
    Build,
    Condition,
    DataInfo,
    Dataset,
    ImageSet,
    Model,
    Objectives,
    PartConfig,
    Phase,
)
from genprior.randomness import seeded

__all__ = ["Autoencoder", "Shapes", "stand_ins"]

CLASSES = ("bar", "cross", "square")
IMAGE = (1, 8, 8)
NUMBERS = {"train": 96, "test": 48, "validation": 24}
CODE = 4


class Shapes(Dataset):
    """Grey images of 8x8 pixels of three shapes, with noise."""

    name = "test_shapes"

    def load(self, split: str) -> ImageSet:
        """Draw a split.

        Raises:
            DataError: there is no such split.
        """
        if split not in NUMBERS:
            raise DataError(f"data set '{self.name}' has no split '{split}'. Possible: {', '.join(NUMBERS)}")
        shapes = torch.zeros(len(CLASSES), *IMAGE)
        shapes[0, :, 1:7, 3:5] = 160
        shapes[1, :, 3:5] = shapes[1, :, :, 3:5] = 160
        shapes[2, :, 2:6, 2:6] = 160
        labels = torch.arange(NUMBERS[split]) % len(CLASSES)
        with seeded("testing", "shapes", split):
            images = shapes[labels] + 90 * torch.rand(len(labels), *IMAGE)
        return ImageSet(images.to(torch.uint8), labels, CLASSES)


class Autoencoder(Model):
    """A linear autoencoder whose decoder also sees the class; new images are of codes from N(0, I)."""

    name = "test_autoencoder"

    def __init__(self, config: Any, info: DataInfo, build: Build) -> None:
        """Draw the weights."""
        super().__init__(config)
        self.info = info
        pixels, width = math.prod(info.image), len(info.classes)
        self.encoder = build.module("encoder", lambda: nn.Linear(pixels, CODE))
        self.decoder = build.module("decoder", lambda: nn.Linear(CODE + width, pixels))

    def phases(self) -> tuple[Phase, ...]:
        """One."""
        return (Phase("autoencode", self.autoencode),)

    def autoencode(self, batch: Batch) -> Objectives:
        """Encoder and decoder descend the squared error."""
        error = (self.reconstruct(batch) - batch.x).square().mean()
        return Objectives({"encoder": error, "decoder": error}, note={"error": error.detach()})

    @property
    def asks(self) -> Asks:
        """A label, where the data has classes."""
        return Asks("label", len(self.info.classes)) if self.info.classes else Asks()

    def condition(self, like: Tensor, y: Tensor | None = None) -> Condition:
        """One-hot labels, for the decoder.

        Raises:
            PlanError: there is no such class.
        """
        classes = len(self.info.classes)
        if y is not None and (not classes or int(y.max()) >= classes):
            raise PlanError(f"there are {classes} classes; got class {int(y.max())}")
        if y is None:
            y = torch.randint(max(classes, 1), (len(like),), device=like.device)
        rows = torch.eye(classes, device=like.device)[y] if classes else like.new_zeros(len(like), 0)
        return Condition(rows, rows)

    def generate(self, condition: Condition) -> Tensor:
        """Images of new codes."""
        known = condition.known
        return self.decode(torch.randn(len(known), CODE, device=known.device), condition)

    def encode(self, batch: Batch) -> Tensor:
        """Codes [n, 4]."""
        z: Tensor = self.encoder(batch.x.flatten(1))
        return z

    def decode(self, z: Tensor, condition: Condition) -> Tensor:
        """Images of codes."""
        return torch.tanh(self.decoder(torch.cat([z, condition.known], 1))).view(-1, *self.info.image)

    def reconstruct(self, batch: Batch) -> Tensor:
        """The batch, encoded and decoded."""
        return self.decode(self.encode(batch), self.condition(batch.y, batch.y))

    def draw_codes(self, condition: Condition) -> Tensor:
        """Codes from N(0, I)."""
        return torch.randn(len(condition.known), CODE, device=condition.known.device)


def stand_ins(model: PartConfig | None, data: PartConfig | None) -> tuple[PartConfig, PartConfig]:
    """The data set and model of a trial: those given, or the stand-ins."""
    return data or Shapes.Config(), model or Autoencoder.Config()
