"""Uniform numbers at their edges: what is drawn, and that `check_prior` finds the parts that cannot take them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from genprior import Prior
from genprior.randomness import seeded
from genprior.testing import ContractError, check_prior
from genprior.testing.edges import uniform_at_edges

BELOW = {torch.float32: 1 - 2.0**-24, torch.float64: 1 - 2.0**-53}


@pytest.mark.parametrize("dtype", BELOW)
def test_a_quarter_of_the_numbers_is_at_either_edge(dtype):
    n = 4000
    with seeded("edges"), uniform_at_edges():
        draws = [torch.rand(n, dtype=dtype), torch.rand_like(torch.zeros(n, dtype=dtype))]
        draws.append(torch.empty(n, dtype=dtype).uniform_())
    for u in draws:
        # 7 standard deviations of a binomial count: a right draw fails with probability below 1e-10.
        for count in (int((u == 0).sum()), int((u == BELOW[dtype]).sum())):
            assert abs(count - n / 4) < 7 * math.sqrt(n * 3 / 16)
        assert bool((u >= 0).all()) and bool((u < 1).all())
    assert bool((torch.rand(n) != BELOW[torch.float32]).any()) and int((torch.rand(n) == 0).sum()) < 5


@pytest.mark.parametrize("call", [lambda x: x.uniform_(-2, 3), lambda x: x.uniform_(**{"from": -2, "to": 3})])
def test_the_edges_of_another_interval(call):
    with seeded("edges"), uniform_at_edges():
        u = call(torch.empty(1000))
    assert u.min() == -2 and u.max() == torch.nextafter(torch.tensor(3.0), torch.tensor(0.0))


class Naive(Prior):
    """Laplace codes by the inverse of the distribution function, which is infinite at u = -1/2."""

    name = "test_naive_laplace"

    def sample(self, asked: Tensor) -> Tensor:
        u = torch.rand(len(asked), self.sizes.code, device=asked.device, dtype=asked.dtype) - 0.5
        return -u.sign() * torch.log1p(-2 * u.abs())


class AtOne(Prior):
    """Exponential codes, infinite at u = 0 alone."""

    name = "test_log_u"

    def sample(self, asked: Tensor) -> Tensor:
        return -torch.rand(len(asked), self.sizes.code, device=asked.device, dtype=asked.dtype).log()


@pytest.mark.parametrize("part", [Naive, AtOne])
def test_a_prior_that_is_infinite_at_an_edge_is_refused(part):
    with pytest.raises(ContractError) as caught:
        check_prior(part)
    (failure,) = caught.value.failures
    assert failure.called == (
        "sample(asked [128, 0]) in float32, where some numbers of torch.rand are 0 or the largest number below 1"
    )
    assert failure.came.startswith("[128, 2] float32 on cpu, of which ")
    assert failure.came.endswith(" numbers are infinite or nan")
    assert "0 comes about once in 2^24 draws" in failure.says
    assert "-torch.log1p(-u) is finite" in failure.do


class Exact(Prior):
    """Exponential codes from 1 - u."""

    name = "test_log1p"

    def sample(self, asked: Tensor) -> Tensor:
        return -torch.log1p(-torch.rand(len(asked), self.sizes.code, device=asked.device, dtype=asked.dtype))


def test_a_prior_that_takes_the_logarithm_of_one_minus_u_is_right():
    check_prior(Exact)
