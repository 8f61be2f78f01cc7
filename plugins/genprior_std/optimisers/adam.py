"""Adam."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import nn

from genprior import Optimiser
from genprior_std.optimisers.scheduled import Decay, ScheduledConfig

__all__ = ["Adam"]


class Adam(Optimiser):
    """Adam, as torch.optim implements it.

    It runs fused: one call for all modules of equal settings that a phase moves.

    References:
        Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1.
    """

    name = "adam"
    elementwise = True
    is_default = True

    class Config(ScheduledConfig):
        """Settings of Adam."""

        betas: tuple[Decay, Decay] = (0.5, 0.999)
        """Decay of the first and second moments."""
        eps: float = Field(1e-8, gt=0)
        """The number that is added to the root of the second moment."""

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        """`torch.optim.Adam`."""
        c = self.config
        return torch.optim.Adam(
            list(parameters.values()), lr=c.lr, betas=c.betas, eps=c.eps, weight_decay=c.weight_decay, fused=True
        )
