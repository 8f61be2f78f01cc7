"""Codes shifted and scaled to mean 0 and standard deviation 1, for networks that are trained on them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["StandardisedCodes"]

LEAST = 1e-5
"""The least scale of a number of a code, as a share of the widest one: numbers that hardly vary are not blown up."""


class StandardisedCodes(nn.Module):
    """Standardises each number of a code: e = (z - mean) / scale, with z = mean + scale e as the inverse.

    `mean` [d] and `scale` [d] are buffers, which `set` computes from the codes of all training images, so they are in
    the state_dict. The module has no parameters. Before `set` it is the identity.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        """Begin as the identity.

        Args:
            width: d, the width of a code.
        """
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    @torch.no_grad()
    def set(self, z: Tensor) -> None:
        """Take the mean and the standard deviation of each number from codes z [n, d].

        A standard deviation below 1e-5 times the largest is replaced by that; if all codes are equal, the scale is 1.
        """
        deviation, mean = torch.std_mean(z.double(), dim=0, correction=0)
        widest = deviation.amax()
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(widest > 0, deviation.clamp(min=LEAST * widest), 1.0))

    def forward(self, z: Tensor) -> Tensor:
        """The standardised codes e [n, d] of codes z [n, d]."""
        return (z - self.mean) / self.scale

    def inverse(self, e: Tensor) -> Tensor:
        """The codes z [n, d] of standardised codes e [n, d]."""
        return self.mean + self.scale * e

    def log_determinant(self) -> Tensor:
        """Log |det de/dz| = -sum_j log scale_j, to add to the log-density of e for that of z: a scalar, in nats."""
        return -self.scale.log().sum()
