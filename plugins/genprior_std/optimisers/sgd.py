"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import nn

from genprior import Optimiser
from genprior_std.optimisers.scheduled import ScheduledConfig

__all__ = ["Sgd"]


class Sgd(Optimiser):
    """Stochastic gradient descent, as torch.optim implements it.

    It runs fused: one kernel for all tensors of a module.
    """

    name = "sgd"

    class Config(ScheduledConfig):
        """Settings of stochastic gradient descent."""

        momentum: float = Field(0.0, ge=0, lt=1)
        """Share of the last step that the next one repeats."""

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        """`torch.optim.SGD`."""
        c = self.config
        return torch.optim.SGD(
            list(parameters.values()), lr=c.lr, momentum=c.momentum, weight_decay=c.weight_decay, fused=True
        )
