"""Uniform numbers at their edges: what is drawn, and that `check_prior` finds the parts that cannot take them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from genprior import Condition, Objectives, PointPosterior, Prior
from genprior.randomness import seeded
from genprior.testing import (
    ContractError,
    check_conditioner,
    check_encoder,
    check_game,
    check_model,
    check_prior,
)
from genprior.testing.edges import uniform_at_edges

from .right_parts import Auto, LinearEncoder, Logistic, OneHot

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


# ---------------------------------------------------------------------------------------------------------------------
# Other kinds that draw
# ---------------------------------------------------------------------------------------------------------------------


def log_of_uniform(like: Tensor) -> Tensor:
    return -torch.rand_like(like).log()


class Exponential(LinearEncoder):
    """Codes with exponential noise, infinite where `torch.rand` draws 0."""

    name = "test_exponential"

    def forward(self, x, known):
        return type("Noisy", (PointPosterior,), {"rsample": lambda q: q.mean + log_of_uniform(q.mean)})(
            self.layer(x.flatten(1))
        )


class NoisyLabels(OneHot):
    """Labels with exponential weights."""

    name = "test_noisy_labels"

    @classmethod
    def widths(cls, config, info):
        return OneHot.widths(config, info)._replace(one_hot=False)

    def draw(self, like):
        known, asked = OneHot.draw(self, like)
        return Condition(known, asked * log_of_uniform(asked[:, :1]))


class Interpolated(Logistic):
    """A loss with a random weight whose logarithm is taken."""

    name = "test_interpolated"

    def critic_loss(self, critic, real, *fakes):
        return super().critic_loss(critic, real, *fakes) * (1 + log_of_uniform(real[0])).mean()


class RandomWeight(Auto):
    """A model whose loss has a random weight."""

    name = "test_random_weight"

    def by_pixels(self, batch):
        losses = Auto.by_pixels(self, batch)
        weight = log_of_uniform(batch.x).mean()
        return Objectives({name: weight * loss for name, loss in losses.items()})


@pytest.mark.parametrize(
    ("check", "part", "words"),
    [
        (check_encoder, Exponential, ["rsample()", "codes are finite"]),
        (check_conditioner, NoisyLabels, ["draw(like", "conditions are finite"]),
        (check_game, Interpolated, ["critic_loss", "losses are finite"]),
        (lambda part: check_model(part.Config()), RandomWeight, ["phase 'reconstruct'", "losses are finite"]),
    ],
    ids=["encoder", "conditioner", "game", "model"],
)
def test_every_kind_that_draws_is_tried_at_the_edges(check, part, words):
    with pytest.raises(ContractError) as caught:
        check(part)
    for word in [*words, "-torch.log1p(-u) is finite"]:
        assert word in str(caught.value)
