"""RMSProp."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import nn

from genprior import Optimiser
from genprior_std.optimisers.scheduled import ScheduledConfig

__all__ = ["Rmsprop"]


class Rmsprop(Optimiser):
    """RMSProp, as torch.optim implements it.

    References:
        Tieleman and Hinton, "Lecture 6.5 - rmsprop", Coursera: Neural Networks for Machine Learning, 2012.
    """

    name = "rmsprop"

    class Config(ScheduledConfig):
        """Settings of RMSProp."""

        momentum: float = Field(0.0, ge=0, lt=1)
        """Share of the last step that the next one repeats."""
        eps: float = Field(1e-8, gt=0)
        """The number that is added to the root of the second moment."""

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        """`torch.optim.RMSprop`, all tensors of a module at once."""
        c = self.config
        return torch.optim.RMSprop(
            list(parameters.values()),
            lr=c.lr,
            momentum=c.momentum,
            eps=c.eps,
            weight_decay=c.weight_decay,
            foreach=True,
        )
