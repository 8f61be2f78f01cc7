"""Priors: distributions of codes."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from genprior.parts.base import ModulePart

__all__ = ["DensityPrior", "Prior"]


class Prior(ModulePart, ABC):
    """The distribution of codes: p(z), or p(z | asked).

    A prior can be sampled. If its density can be computed, derive from `DensityPrior`.
    """

    kind = "prior"

    @abstractmethod
    def sample(self, asked: Tensor) -> Tensor:
        """Draw one code for each row of `asked`, differentiably in the prior's own parameters.

        Args:
            asked: the conditions of new images [n, k]; k is 0 without a condition.

        Returns:
            Codes [n, d] on the device and in the dtype of `asked`.
        """

    def walk(self, columns: int, like: Tensor) -> Tensor | None:
        """A grid of codes of which neighbours are close, for a picture of interpolations; None where a prior has none.

        Args:
            columns: codes per row.
            like: any tensor whose device and floating point dtype the codes have.

        Returns:
            [rows, columns, d]: neighbours in a row are close in code space.
        """
        return None


class DensityPrior(Prior):
    """A prior whose density can be computed, as models trained by likelihood require."""

    @abstractmethod
    def log_prob(self, z: Tensor, asked: Tensor) -> Tensor:
        """The natural logarithm of p(z | asked), normalised.

        Args:
            z: codes [n, d].
            asked: [n, k].

        Returns:
            [n], in nats.
        """
