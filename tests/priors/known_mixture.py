"""A known mixture of Gaussians, and a permutation test of whether two sets of points have one distribution."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Discrepancy", "Falling", "discrepancy", "draw_mixture", "same_moments"]

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


class Discrepancy(NamedTuple):
    """How far two sets of points are apart."""

    mmd: float
    """The unbiased estimate of MMD^2; its expectation is 0 for one distribution, and it may be negative."""
    quantile: float
    """The share of permutations of all points whose estimate is lower: uniform in [0, 1] for one distribution."""


def discrepancy(x: Tensor, y: Tensor, permutations: int = 400) -> Discrepancy:
    """The unbiased MMD^2 of x [n, d] and y [n, d], and its place among those of random divisions of all their points.

    The kernel is exp(-|a - b|^2 / (2 m)) with m the median squared distance, both sets being scaled to unit variance.
    """
    both = torch.cat([x, y]).double()
    both = both / both.std(0)
    squares = torch.cdist(both, both).square()
    kernel = (-squares / (2 * squares.flatten()[:: len(both) // 2 + 1].median())).exp().fill_diagonal_(0)
    n = len(x)
    drawing = torch.Generator().manual_seed(9)
    orders = [torch.arange(2 * n), *(torch.randperm(2 * n, generator=drawing) for _ in range(permutations))]
    first = torch.zeros(2 * n, len(orders), dtype=torch.float64)
    for column, order in enumerate(orders):
        first[order[:n], column] = 1
    of_first = kernel @ first
    rows = kernel.sum(1)[:, None] - of_first  # of the second
    within = (first * of_first).sum(0) + ((1 - first) * rows).sum(0)
    values = within / (n * (n - 1)) - 2 * (first * rows).sum(0) / n**2
    return Discrepancy(float(values[0]), float((values[1:] < values[0]).double().mean()))


class Falling(torch.optim.Adam):
    """Adam whose rate falls linearly to 0, in place of averaged weights."""

    def __init__(self, parameters: Any, lr: float, steps: int, momentum: float = 0.9) -> None:
        super().__init__(parameters, lr=lr, betas=(momentum, 0.999))
        self.fall = lr / steps

    def step(self, closure: Any = None) -> Any:
        super().step(closure)
        for group in self.param_groups:
            group["lr"] -= self.fall
