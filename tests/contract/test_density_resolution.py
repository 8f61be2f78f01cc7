"""How small an error of a density `check_prior` finds, and that it accepts right densities of every shape."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch.distributions import Cauchy, Exponential, Laplace, Normal, Uniform

from genprior import DensityPrior
from genprior.testing import ContractError, check_prior
from genprior.testing.densities import check_cumulative
from genprior.testing.report import Contract

LOGISTIC = math.sqrt(3) / math.pi  # the scale of a logistic density of variance 1


def logistic(z):
    return -z / LOGISTIC - math.log(LOGISTIC) - 2 * torch.nn.functional.softplus(-z / LOGISTIC)


def prior(density, draw):
    def sample(self, asked):
        return draw((len(asked), self.sizes.code)).to(device=asked.device, dtype=asked.dtype)

    def log_prob(self, z, asked):
        return density(z).sum(1)

    return type("Made", (DensityPrior,), {"name": "made", "sample": sample, "log_prob": log_prob})


def normal(shape):
    return torch.randn(shape, dtype=torch.float64)


WRONG = {
    "a logistic density of the same variance": (logistic, normal),
    "a shift by 0.03": (Normal(0.03, 1.0).log_prob, normal),
    "a scale of 1.05": (Normal(0.0, 1.05).log_prob, normal),
    "a scale of 0.95": (Normal(0.0, 0.95).log_prob, normal),
    "a Laplace density of the same variance": (Laplace(0.0, math.sqrt(0.5)).log_prob, normal),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_small_difference_of_shape_shift_or_scale_is_found(case):
    with pytest.raises(ContractError, match="samples are distributed by the density"):
        check_prior(prior(*WRONG[case]))


def numbers(distribution):
    return lambda n: distribution.sample((n, 1)).double()


def mixture(n):
    """Two narrow Gaussians, far from each other."""
    return 0.001 * torch.randn(n, 1, dtype=torch.float64) + 100 * torch.randint(2, (n, 1))


def log_mixture(z):
    sides = [Normal(torch.tensor(at, dtype=z.dtype), 0.001).log_prob(z) for at in (0.0, 100.0)]
    return torch.logaddexp(*sides)[:, 0] - math.log(2)


RIGHT = {
    "normal": (lambda z: Normal(0.0, 1.0).log_prob(z)[:, 0], numbers(Normal(0.0, 1.0))),
    "Cauchy": (lambda z: Cauchy(0.0, 1.0).log_prob(z)[:, 0], numbers(Cauchy(0.0, 1.0))),
    "with an edge": (
        lambda z: Uniform(-1.0, 1.0, validate_args=False).log_prob(z)[:, 0],
        numbers(Uniform(-1.0, 1.0)),
    ),
    "with a jump": (
        lambda z: torch.where(z[:, 0] < 0, -math.inf, Exponential(1.0, validate_args=False).log_prob(z)[:, 0]),
        numbers(Exponential(1.0)),
    ),
    "narrow and far apart": (log_mixture, mixture),
}


@pytest.mark.parametrize("case", RIGHT)
def test_right_densities_pass_whatever_their_shape(case):
    contract = Contract(DensityPrior, "nothing")
    check_cumulative(contract, "log_prob(z)", *RIGHT[case])
    assert contract.failures == []


def test_the_gap_that_is_told_is_that_of_the_distribution_functions():
    # The logistic and the normal distribution functions of variance 1 differ by 0.0227 at most (computed here).
    z = torch.linspace(-4, 4, 8001, dtype=torch.float64)
    gap = float((torch.sigmoid(z / LOGISTIC) - Normal(0.0, 1.0).cdf(z)).abs().max())
    contract = Contract(DensityPrior, "nothing")
    check_cumulative(contract, "log_prob(z)", lambda z: logistic(z)[:, 0], numbers(Normal(0.0, 1.0)))
    (failure,) = contract.failures
    found = re.search(r"is ([\d.]+) among samples, ([\d.]+) by log_prob", failure.came)
    assert found is not None
    assert abs(float(found[1]) - float(found[2])) == pytest.approx(gap, abs=0.004)
