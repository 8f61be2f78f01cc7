"""A two-sample test by MMD: whether draws and fresh data have one distribution."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Comparison", "compare"]


class Comparison(NamedTuple):
    """How far two sets of points are apart."""

    mmd: float
    """The unbiased estimate of MMD^2; its expectation is 0 for one distribution, and it may be negative."""
    bound: float
    """The 99 % quantile of that estimate under permutations of all points."""
    quantile: float
    """The share of permutations of all points whose estimate is lower: uniform in [0, 1] for one distribution."""


def compare(x: Tensor, y: Tensor, permutations: int = 200, *, scaled: bool = False) -> Comparison:
    """The unbiased squared MMD of x [n, d] and y [n, d], with its place among those of random divisions of all points.

    The kernel is exp(-|a - b|^2 / (2 m)), with m the median squared distance of two of the points.

    Args:
        x: points.
        y: other points, as many.
        permutations: the number of random divisions.
        scaled: whether every coordinate of the points is first divided by its standard deviation.
    """
    n = len(x)
    pooled = torch.cat([x, y]).double()
    pooled = pooled / pooled.std(0) if scaled else pooled
    squares = torch.cdist(pooled, pooled).square()
    upper = squares[tuple(torch.triu_indices(2 * n, 2 * n, 1))]
    kernel = (-squares / (2 * upper.median())).exp().fill_diagonal_(0)
    generator = torch.Generator().manual_seed(0)
    orders = [torch.arange(2 * n), *(torch.randperm(2 * n, generator=generator) for _ in range(permutations))]
    first = torch.zeros(len(orders), 2 * n, dtype=torch.float64)
    first.scatter_(1, torch.stack(orders)[:, :n], 1)
    second = 1 - first
    within = ((first @ kernel) * first + (second @ kernel) * second).sum(1) / (n * (n - 1))
    values = within - 2 * ((first @ kernel) * second).sum(1) / n**2
    lower = (values[1:] < values[0]).double().mean()
    return Comparison(float(values[0]), float(values[1:].quantile(0.99)), float(lower))
