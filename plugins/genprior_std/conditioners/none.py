"""No condition."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genprior import Batch, Condition, Conditioner, DataInfo, PartConfig, Widths

__all__ = ["NoCondition"]


class NoCondition(Conditioner):
    """No condition: `known` and `asked` both have width 0."""

    name = "none"

    class Config(PartConfig):
        """No settings."""

    @classmethod
    def widths(cls, config: Any, info: DataInfo) -> Widths:
        """Zero and zero, for any data."""
        return Widths(known=0, asked=0)

    def forward(self, batch: Batch) -> Condition:
        """Two empty tensors [n, 0]."""
        return self.draw(batch.x)

    def draw(self, like: Tensor) -> Condition:
        """Two empty tensors [n, 0] on the device of `like`."""
        dtype = like.dtype if like.is_floating_point() else torch.get_default_dtype()
        nothing = like.new_empty((len(like), 0), dtype=dtype)
        return Condition(known=nothing, asked=nothing)
