"""The two-sample test: equal to a loop over pairs, quiet for equal distributions, loud for close ones."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from .gaussian_clusters import known_mixture
from .two_samples import compare


def test_mmd_is_that_of_a_loop_over_pairs() -> None:
    x, y = known_mixture(7, 2, 0).z.double(), known_mixture(7, 2, 1).z.double()
    pooled = torch.cat([x, y]).tolist()
    middle = torch.tensor([math.dist(a, b) ** 2 for a, b in itertools.combinations(pooled, 2)]).double().median()

    def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
        return math.exp(-(math.dist(a.tolist(), b.tolist()) ** 2) / (2 * float(middle)))

    within = sum(kernel(s[i], s[j]) for s in (x, y) for i in range(7) for j in range(7) if i != j) / (7 * 6)
    across = sum(kernel(a, b) for a in x for b in y) / 49
    assert compare(x, y).mmd == pytest.approx(within - 2 * across, abs=1e-9)


@pytest.mark.parametrize("d", [2, 8])
def test_fresh_data_are_within_the_spread_and_a_single_gaussian_is_not(d: int) -> None:
    x, y = known_mixture(1000, d, 0).z, known_mixture(1000, d, 1).z
    equal = compare(x, y)
    assert equal.mmd < equal.bound
    factor = torch.linalg.cholesky(torch.cov(x.T))
    gaussian = compare(x.mean(0) + torch.randn(1000, d, generator=torch.Generator().manual_seed(2)) @ factor.T, y)
    assert gaussian.mmd > 2 * gaussian.bound
    assert gaussian.quantile == 1 and equal.quantile < 1


def test_scaled_points_are_those_divided_by_their_deviations() -> None:
    x, y = known_mixture(300, 3, 0).z, known_mixture(300, 3, 1).z
    deviations = torch.cat([x, y]).std(0)
    times = torch.tensor([1, 9, 0.1])
    assert compare(x * times, y * times, scaled=True).mmd == pytest.approx(
        compare(x / deviations, y / deviations).mmd, abs=1e-6
    )
