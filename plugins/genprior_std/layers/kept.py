"""A value that follows from weights, computed once while they stay the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

__all__ = ["KeptValue"]


class KeptValue:
    """A tensor that is computed from weights, and computed again only after a weight was written to.

    It is no state: it is neither saved nor moved. With gradients enabled it is computed anew in each call.
    """

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._of: tuple[tuple[int, torch.device], ...] = ()
        self._value: Tensor | None = None

    def __call__(self, compute: Callable[[], Tensor], weights: Iterable[Tensor]) -> Tensor:
        """The value for the present weights.

        Args:
            compute: computes the value.
            weights: the tensors that it depends on.
        """
        if torch.is_grad_enabled():
            return compute()
        of = tuple((weight._version, weight.device) for weight in weights)
        if self._value is None or of != self._of:
            self._value, self._of = compute(), of
        return self._value

    def drop(self) -> None:
        """Forget the value; call it in `train`, since averaged weights take the places of others without a write."""
        self._value = None
