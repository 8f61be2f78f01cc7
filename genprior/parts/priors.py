"""Where codes come from."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from genprior.parts.base import ModulePart

__all__ = ["DensityPrior", "Prior"]


class Prior(ModulePart, ABC):
    """Where codes come from: p(z), or p(z | asked).

    A prior can be sampled. If it also knows its density, derive from `DensityPrior`.
    """

    kind = "prior"

    @abstractmethod
    def sample(self, asked: Tensor) -> Tensor:
        """Draw one code for each row of `asked`, differentiably in the prior's own parameters.

        Args:
            asked: [n, k] what is asked of each new image; k is 0 without a condition.

        Returns:
            Codes [n, d] on the device and in the dtype of `asked`.
        """

    def walk(self, columns: int, like: Tensor) -> Tensor | None:
        """Codes along this prior, for a picture of what lies between them; None where a prior has no such order.

        Args:
            columns: how many codes a row.
            like: any floating point tensor of the right device and dtype.

        Returns:
            [rows, columns, d]: neighbours in a row lie next to one another in the space of codes.
        """
        return None


class DensityPrior(Prior):
    """A prior that knows its density: the capability that models trained by likelihood demand."""

    @abstractmethod
    def log_prob(self, z: Tensor, asked: Tensor) -> Tensor:
        """The natural logarithm of p(z | asked), normalised.

        Args:
            z: codes [n, d].
            asked: [n, k].

        Returns:
            [n], in nats.
        """
