"""Distances between samples of codes: against loops, closed forms and optimal assignments."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from genprior.errors import PlanError
from genprior_std.model_pieces.matching import SCALES, sliced_wasserstein, squared_mmd

KERNELS = {
    "imq": lambda square, width: width / (width + square),
    "rbf": lambda square, width: math.exp(-square / width),
}


def codes(n, d, seed, dtype=torch.float64):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def by_loop(z, y, kernel, sigma):
    """The estimate, pair by pair, as algorithm 2 of the paper writes it."""

    def k(a, b):
        square, width = sum((p - q) ** 2 for p, q in zip(a, b, strict=True)), 2 * len(a) * sigma**2
        return sum(KERNELS[kernel](square, scale * width) for scale in SCALES)

    z, y = z.tolist(), y.tolist()
    n, m = len(z), len(y)
    same = sum(k(z[i], z[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    other = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return same + other - 2 * sum(k(a, b) for a in z for b in y) / (n * m)


@pytest.mark.parametrize("kernel", KERNELS)
@settings(deadline=None, max_examples=30)
@given(n=st.integers(2, 7), m=st.integers(2, 7), d=st.integers(1, 5), sigma=st.floats(0.2, 5), seed=st.integers(0, 99))
def test_the_discrepancy_is_that_of_a_loop_over_pairs(kernel, n, m, d, sigma, seed):
    z, y = codes(n, d, seed), 0.5 + 2 * codes(m, d, seed + 100)
    assert squared_mmd(z, y, kernel, sigma).item() == pytest.approx(by_loop(z, y, kernel, sigma), abs=1e-11)


def estimates(kernel, shift, d, times=400, n=20, spread=1.5):
    """The mean estimate over independent samples of N(0, spread^2) and N(shift, spread^2), and its standard error."""
    z, y = spread * codes(times * n, d, 1), shift + spread * codes(times * n, d, 2)
    found = torch.stack(
        [squared_mmd(a, b, kernel, 0.7) for a, b in zip(z.split(n), y.split(n), strict=True)]  # another sigma
    )
    return found.mean().item(), (found.std() / math.sqrt(times)).item()


@pytest.mark.parametrize("d", [1, 3])
def test_of_shifted_gaussians_it_has_its_closed_form_on_average(d):
    """Of N(0, t^2 I) and N(mu, t^2 I), z - y is N(mu, 2 t^2 I), and E exp(-|z - y|^2 / w) is a Gaussian integral."""
    mean, error = estimates("rbf", shift := 1.2, d)
    expected = 0.0
    for scale in SCALES:
        width, spread = scale * 2 * d * 0.7**2, 4 * 1.5**2
        expected += 2 * (1 + spread / width) ** (-d / 2) * (1 - math.exp(-d * shift**2 / (width + spread)))
    # Four standard errors: a right estimate fails with probability below 1e-4.
    assert mean == pytest.approx(expected, abs=4 * error)
    assert error < 0.1 * expected


@pytest.mark.parametrize("kernel", KERNELS)
def test_it_is_zero_on_average_between_samples_of_one_distribution(kernel):
    mean, error = estimates(kernel, 0.0, 2)
    assert mean == pytest.approx(0, abs=4 * error)


@pytest.mark.parametrize("kernel", KERNELS)
def test_far_from_the_origin_it_keeps_its_digits(kernel):
    # Multiples of 1 / 1024, so that the shift itself is exact in single precision.
    z, y = (codes(30, 4, seed, torch.float32).mul(1024).round() / 1024 for seed in (1, 2))
    expected = squared_mmd(z.double(), y.double(), kernel, 1.0)
    assert squared_mmd(z + 1024, y + 1024, kernel, 1.0).item() == pytest.approx(expected.item(), abs=1e-5)


def test_half_precision_is_computed_in_single():
    z, y = (codes(30, 4, seed).bfloat16() for seed in (1, 2))
    for distance in (lambda a, b: squared_mmd(a, b, "imq", 1.0), lambda a, b: sliced_wasserstein(a, b, 9)):
        torch.manual_seed(0)
        expected = distance(z.float(), y.float())
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(distance(z, y), expected)


def test_a_single_code_is_refused():
    with pytest.raises(PlanError) as caught:
        squared_mmd(torch.zeros(1, 3), torch.zeros(1, 3), "imq", 1.0)
    assert str(caught.value) == (
        "the maximum mean discrepancy compares pairs of codes, and a batch has one image. "
        'Set run.batch to 2 or more, or divergence = "sliced"'
    )


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 12), seed=st.integers(0, 99))
def test_in_one_dimension_the_sliced_distance_is_that_of_the_best_assignment(n, seed):
    z, y = codes(n, 1, seed), 1 + 2 * codes(n, 1, seed + 100)
    cost = (z - y.T).square().numpy()
    best = cost[linear_sum_assignment(cost)].mean()
    assert sliced_wasserstein(z, y, 3).item() == pytest.approx(best, abs=1e-12)


def test_the_directions_cover_the_sphere():
    """Codes that differ by one shift c have the distance (c theta)^2 in direction theta, |c|^2 / d on average."""
    z, shift = codes(5, 3, 1), torch.tensor([0.0, 3.0, 4.0], dtype=torch.float64)
    torch.manual_seed(0)
    found = torch.stack([sliced_wasserstein(z, z + shift, 1) for _ in range(4_000)])
    assert found.max() <= 25 + 1e-9
    # (c theta)^2 / |c|^2 is Beta(1/2, 1) in three dimensions: mean 1/3, variance 4/45. Four standard errors.
    assert found.mean().item() == pytest.approx(25 / 3, abs=4 * 25 * math.sqrt(4 / 45 / 4_000))
    many = torch.stack([sliced_wasserstein(z, z + shift, 40) for _ in range(100)])
    assert many.std() < 0.3 * found.std()  # a mean over 40 directions: 1 / sqrt(40) = 0.16


def test_the_sliced_distance_does_not_depend_on_the_order_of_codes():
    z = codes(20, 3, 1)
    assert sliced_wasserstein(z, z[torch.randperm(20)], 10) == 0


@pytest.mark.parametrize("distance", ["imq", "rbf", "sliced"])
def test_its_gradient_is_that_of_finite_differences(distance):
    def value(z, y):
        torch.manual_seed(3)
        return sliced_wasserstein(z, y, 4) if distance == "sliced" else squared_mmd(z, y, distance, 0.8)

    assert torch.autograd.gradcheck(value, (codes(5, 2, 1).requires_grad_(), codes(5, 2, 2).requires_grad_()))


@pytest.mark.parametrize("distance", ["imq", "rbf", "sliced"])
def test_points_that_descend_it_come_to_follow_the_other_distribution(distance):
    torch.manual_seed(0)
    z = (1 + 0.2 * torch.randn(100, 2)).requires_grad_()
    optimiser = torch.optim.Adam([z], lr=0.1)
    for _ in range(100):
        y = torch.randn(100, 2)
        loss = sliced_wasserstein(z, y, 20) if distance == "sliced" else squared_mmd(z, y, distance, 1.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    moments = z.detach().T.numpy()
    np.testing.assert_allclose(moments.mean(1), 0, atol=0.25)
    np.testing.assert_allclose(np.cov(moments), np.eye(2), atol=0.35)
