"""Conditioners: the conditions of training images and of new ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from genprior.errors import PlanError
from genprior.parts.base import ModulePart
from genprior.parts.embedders import Embedder
from genprior.parts.values import Asks, Batch, Condition, DataInfo, Widths

__all__ = ["Conditioner", "TextConditioner"]


class Conditioner(ModulePart, ABC):
    """Makes conditions: `known` of training images, and `asked` of new ones."""

    kind = "conditioner"

    @classmethod
    @abstractmethod
    def widths(cls, config: Any, info: DataInfo) -> Widths:
        """The widths of the condition, known before any module exists.

        Raises:
            PlanError: the data lacks what this conditioner needs (labels, for example).
        """

    @abstractmethod
    def forward(self, batch: Batch) -> Condition:
        """The condition of a training batch."""

    @abstractmethod
    def draw(self, like: Tensor) -> Condition:
        """Conditions drawn for new images, one for each row of `like`, whose device they have."""

    @property
    def asks(self) -> Asks:
        """What new images can be asked for by; one that overrides `of_label` overrides this too."""
        return Asks()

    def of_label(self, y: Tensor) -> Condition:
        """The condition of new images of class y [n].

        Raises:
            PlanError: this conditioner cannot condition on a class.
        """
        raise PlanError(f"conditioner '{self.name}' takes no label; sample without one, or train with 'label'")

    def clusters(self, x: Tensor) -> Tensor | None:
        """The probabilities [n, K] of K categories given images x; None where the conditioner infers none."""
        return None

    def consistency(self, x: Tensor, asked: Tensor) -> Tensor:
        """E[-log Q(asked | x)], a scalar in nats: how poorly images x show their condition. 0 by default."""
        return x.new_zeros(())

    @property
    def recognises(self) -> bool:
        """Whether Q can learn from real images, whose condition `known` says what it should read; see `recognition`."""
        return False

    def recognition(self, x: Tensor, known: Tensor) -> Tensor:
        """E[-log Q(known | x)], a scalar in nats, for real images x with their own condition; 0 by default."""
        return x.new_zeros(())


class TextConditioner(Conditioner):
    """A conditioner on sentences: training fits its `embedder` to the captions, and batches have their vectors."""

    embedder: Embedder

    @property
    def asks(self) -> Asks:
        """A text."""
        return Asks("text")

    @abstractmethod
    def of_text(self, text: Tensor) -> Condition:
        """The condition of new images that embedded sentences describe, [n, size of the embedder]."""
