"""A known mixture of Gaussians of unequal weights, a Gaussian of the same moments, and an optimiser of falling rate."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["Falling", "draw_mixture", "same_moments"]

WEIGHTS = torch.tensor([0.4, 0.3, 0.2, 0.1])


def draw_mixture(n: int, width: int, seed: int) -> Tensor:
    """n points of four Gaussians of unequal weights and widths in `width` dimensions, float32 [n, width].

    The centres are 5.6 apart or more, in units of the widest one; the whole is shifted and stretched, as codes are.
    """
    places = torch.Generator().manual_seed(5)
    directions = torch.linalg.qr(torch.randn(max(width, 4), max(width, 4), generator=places)).Q[:4, :width]
    if width == 2:
        directions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    drawing = torch.Generator().manual_seed(seed)
    chosen = torch.multinomial(WEIGHTS, n, replacement=True, generator=drawing)
    widths = torch.tensor([0.3, 0.5, 0.8, 1.0])[chosen][:, None]
    z = 4 * directions[chosen] + widths * torch.randn(n, width, generator=drawing)
    return 2 + torch.linspace(0.5, 3, width) * z


def same_moments(z: Tensor, n: int, seed: int) -> Tensor:
    """n points of the Gaussian that has the mean and covariance of z [m, d]: [n, d]."""
    drawing = torch.Generator().manual_seed(seed)
    e = torch.randn(n, z.shape[1], generator=drawing)
    return z.mean(0) + e @ torch.linalg.cholesky(torch.cov(z.T)).T


class Falling(torch.optim.Adam):
    """Adam whose rate falls linearly to 0, in place of averaged weights."""

    def __init__(self, parameters: Any, lr: float, steps: int, momentum: float = 0.9) -> None:
        super().__init__(parameters, lr=lr, betas=(momentum, 0.999))
        self.fall = lr / steps

    def step(self, closure: Any = None) -> Any:
        super().step(closure)
        for group in self.param_groups:
            group["lr"] -= self.fall
