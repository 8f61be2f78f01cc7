"""Reconstruction errors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

from torch import Tensor

from genprior.parts.base import ModulePart

__all__ = ["Reconstruction"]


class Reconstruction(ModulePart, ABC):
    """The error of a reconstruction of an image."""

    kind = "reconstruction"

    @classmethod
    def sums(cls, config: Any) -> bool:
        """Whether the error with these settings is a sum over the whole image, as a bound of log p(x) requires.

        True by default; a part that averages, usually with `reduction = "mean"`, returns False for these settings.
        """
        return True

    @classmethod
    def likelihood_of(cls, config: Any) -> Literal["binary", "levels", "real"] | None:
        """The kind of pixels whose likelihood the error with these settings is; None, the default, for no likelihood.

        "binary": the probability of pixels that are -1 or 1. "levels": that of the 256 levels 2 k / 255 - 1. "real": a
        density on [-1, 1].
        """
        return None

    @property
    def normalised(self) -> bool:
        """Whether the error is exactly -log p(x | x_rec) in nats, normalised over whole images."""
        return False

    @abstractmethod
    def forward(self, x: Tensor, x_rec: Tensor, known: Tensor) -> Tensor:
        """The error [n] of each reconstruction x_rec [n, c, h, w] of x; a subclass documents how it reduces."""
