"""AdamW."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import nn

from genprior import Optimiser
from genprior_std.optimisers.scheduled import Decay, ScheduledConfig

__all__ = ["AdamW"]


class AdamW(Optimiser):
    """Adam with decoupled weight decay: p <- p (1 - lr weight_decay) before each step, beside the moments.

    It runs fused: one call for all modules of equal settings that a phase moves.

    References:
        Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, algorithm 2, as torch.optim implements it.
    """

    name = "adamw"
    elementwise = True

    class Config(ScheduledConfig):
        """Settings of AdamW."""

        weight_decay: float = Field(0.01, ge=0)
        """The share of a parameter that a step takes away, divided by the learning rate."""
        betas: tuple[Decay, Decay] = (0.9, 0.999)
        """Decay of the first and second moments."""
        eps: float = Field(1e-8, gt=0)
        """The number that is added to the root of the second moment."""

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        """`torch.optim.AdamW`."""
        c = self.config
        return torch.optim.AdamW(
            list(parameters.values()), lr=c.lr, betas=c.betas, eps=c.eps, weight_decay=c.weight_decay, fused=True
        )
