"""Clips the gradients of a module, by norm and by value, without waiting for the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Clipping"]


class Clipping(NamedTuple):
    """The limits of a module's gradients."""

    norm: float | None = None
    """The largest norm of all its gradients together; None for no limit."""
    value: float | None = None
    """The largest absolute value of an entry, after the norm is clipped; None for no limit."""

    def __call__(self, gradients: Sequence[Tensor], norm: Tensor) -> Sequence[Tensor]:
        """The clipped gradients: g min(1, c / (|g| + 1e-6)), then clamped to [-value, value].

        New tensors, since autograd may return one tensor for several parameters.

        Args:
            gradients: the gradients of one module.
            norm: their norm |g| [].
        """
        clipped = gradients
        if self.norm is not None:
            clipped = torch._foreach_mul(list(clipped), torch.clamp(self.norm / (norm + 1e-6), max=1.0))
        if self.value is not None:
            clipped = torch._foreach_clamp_max(torch._foreach_clamp_min(list(clipped), -self.value), self.value)
        return clipped
