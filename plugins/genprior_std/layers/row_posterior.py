"""Posteriors that consist of a row of parameters for each image."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Self

from torch import Tensor

from genprior import DensityPosterior

__all__ = ["RowPosterior"]


class RowPosterior(DensityPosterior):
    """A posterior with a row of parameters for each image, which can be repeated, selected and compared in batches."""

    @abstractmethod
    def map_rows(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The posteriors of other rows: `change` selects or repeats the rows of each tensor of parameters [n, ...]."""

    @abstractmethod
    def log_prob_of_each(self, z: Tensor) -> Tensor:
        """The log-density of every code under the posterior of every image: [m, n] in nats for z [m, d], in double."""
