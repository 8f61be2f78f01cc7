"""A known mixture of Gaussians as codes, and a two-sample test of draws against fresh data by MMD."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from genprior import Codes, FittedPrior

__all__ = ["Comparison", "compare", "draw", "known_mixture"]

MEANS = 5
"""Components; the k-th is a Gaussian of standard deviations 0.3 to 1 about its own mean."""


def known_mixture(n: int, d: int, seed: int, conditional: bool = False) -> Codes:
    """Draw n codes [n, d] of a mixture of 5 Gaussians, shifted and scaled; as condition the component, or none."""
    fixed = torch.Generator().manual_seed(1000 + d)
    means = 3 * torch.randn(MEANS, d, generator=fixed)
    deviations = 0.3 + 0.7 * torch.rand(MEANS, d, generator=fixed)
    draws = torch.Generator().manual_seed(seed)
    component = torch.randint(MEANS, (n,), generator=draws)
    z = means[component] + deviations[component] * torch.randn(n, d, generator=draws)
    asked = torch.nn.functional.one_hot(component, MEANS).float() if conditional else z[:, :0]
    return Codes(10 + 2 * z, asked)


class Comparison(NamedTuple):
    """The squared MMD of two samples, and the 99 % quantile that it has where both have one distribution."""

    mmd: float
    bound: float


def compare(x: Tensor, y: Tensor, permutations: int = 200) -> Comparison:
    """The unbiased squared MMD of x [n, d] and y [n, d], with its spread under random relabelling.

    The kernel is Gaussian; its width is the median distance of the pooled points.
    """
    n = len(x)
    pooled = torch.cat([x, y]).double()
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
    return Comparison(float(values[0]), float(values[1:].quantile(0.99)))


def draw(prior: FittedPrior, asked: Tensor, seed: int = 5) -> Tensor:
    """Codes of a fitted prior under a seed, without gradients."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        return prior.sample(asked)
