"""The resampled prior: its constant, density, samples and gradients against numerical integration."""

from __future__ import annotations

import math

import numpy
import pytest
import torch
from pydantic import ValidationError
from scipy import stats

from genprior.errors import PlanError
from genprior.parts import Sizes
from genprior_std.priors import resampled
from genprior_std.priors.resampled import Resampled

GRID = torch.linspace(-9, 9, 20_001, dtype=torch.float64)[:, None]
ASKED = torch.zeros(len(GRID), 0, dtype=torch.float64)
ERROR_RATE = 1e-3


def prior_of(draws=100, code=1, scale=3.0, **settings):
    """A prior whose acceptance varies much, in double precision and evaluation mode."""
    torch.manual_seed(1)
    prior = Resampled.Config(hidden=(16, 16), draws=draws, **settings).make(Sizes((1, 4, 4), code, 0, 0)).double()
    with torch.no_grad():
        prior.network[-1].weight.mul_(5 * scale)
        prior.network[-1].bias.sub_(1)
        prior.network[0][0].weight.mul_(scale)
    return prior.eval()


def integrals(prior):
    """Z and the density on the grid, by the trapezoidal rule from the definition."""
    pi = torch.exp(-0.5 * GRID[:, 0].square()) / math.sqrt(2 * math.pi)
    a = torch.sigmoid(prior.network(GRID)[:, 0])
    z = torch.trapezoid(a * pi, GRID[:, 0])
    alpha = (1 - z) ** (prior.config.draws - 1)
    return z, (1 - alpha) * a * pi / z + alpha * pi


@pytest.mark.parametrize("draws", [2, 3, 100])
def test_constant_and_density_are_those_of_numerical_integration(draws):
    prior = prior_of(draws)
    with torch.no_grad():
        z, density = integrals(prior)
        assert 0.05 < z < 0.95
        assert prior.log_normaliser().exp().item() == pytest.approx(z.item(), rel=1e-4)
        found = prior.log_prob(GRID, ASKED).exp()
    assert torch.allclose(found, density, rtol=2e-4, atol=1e-12)
    assert torch.trapezoid(found, GRID[:, 0]).item() == pytest.approx(1, abs=2e-4)


def test_the_gradient_is_that_of_numerical_integration():
    prior = prior_of(5)
    z = torch.linspace(-2, 2, 7, dtype=torch.float64)[:, None]
    places = ((z + 9) / 18 * (len(GRID) - 1)).round().long()[:, 0]
    parameters = list(prior.network.parameters())
    expected = torch.autograd.grad(integrals(prior)[1][places].log().sum(), parameters)
    found = torch.autograd.grad(prior.log_prob(GRID[places], ASKED[:7]).sum(), parameters)
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, rtol=5e-3, atol=1e-3)


def test_training_estimates_the_constant_with_new_draws_and_a_gradient():
    """The estimate of 1,000 means of 50 draws within 5 standard errors: refused at random below 1e-5."""
    prior = prior_of(normaliser_samples=50).train()
    torch.manual_seed(2)
    estimates = torch.stack([prior.log_normaliser().exp() for _ in range(1000)])
    assert estimates.unique().numel() == 1000
    assert estimates.mean().item() == pytest.approx(
        integrals(prior)[0].item(), abs=5 * estimates.std().item() / math.sqrt(1000)
    )
    assert prior.log_normaliser().requires_grad


@pytest.mark.parametrize(("draws", "held"), [(2, 2**22), (7, 2**22), (7, 1), (7, 3000)])
def test_samples_follow_the_density_however_many_are_held(draws, held, monkeypatch):
    monkeypatch.setattr(resampled, "HELD", held)
    prior = prior_of(draws)
    torch.manual_seed(3)
    samples = prior.sample(torch.zeros(1000, 0, dtype=torch.float64))[:, 0].numpy()
    with torch.no_grad():
        density = integrals(prior)[1].numpy()
    cumulative = numpy.concatenate([[0], numpy.cumsum((density[1:] + density[:-1]) / 2)])
    cumulative /= cumulative[-1]
    test = stats.kstest(samples, lambda x: numpy.interp(x, GRID[:, 0].numpy(), cumulative))
    assert test.pvalue > ERROR_RATE


def test_samples_have_no_gradient_and_leave_none():
    prior = prior_of().train()
    assert not prior.sample(torch.zeros(5, 0)).requires_grad
    assert all(parameter.grad is None for parameter in prior.parameters())


def test_the_constant_follows_the_weights_in_evaluation_mode():
    prior = prior_of()
    with torch.no_grad():
        first = prior.log_normaliser()
        assert prior.log_normaliser() is first
        prior.network[-1].bias.add_(1)
        assert prior.log_normaliser() > first
        swapped = prior.network[-1].bias.data
        prior.network[-1].bias.data = swapped - 1  # as averaged weights take their place
        assert prior.eval().log_normaliser().item() == pytest.approx(first.item())


@pytest.mark.parametrize("bias", [-1000.0, 1000.0])
def test_an_acceptance_of_zero_or_one_is_finite(bias):
    prior = prior_of()
    with torch.no_grad():
        prior.network[-1].bias.fill_(bias)
    z = torch.randn(4, 1, dtype=torch.float64)
    log_p = prior.log_prob(z, ASKED[:4])
    gradients = torch.autograd.grad(log_p.sum(), list(prior.network.parameters()))
    assert torch.isfinite(log_p).all()
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    if bias > 0:  # all is accepted: the proposal
        assert torch.allclose(log_p, torch.distributions.Normal(0.0, 1.0).log_prob(z[:, 0]))


def test_codes_too_wide_for_quasi_random_draws_are_refused():
    with pytest.raises(PlanError) as caught:
        Resampled.Config(hidden=(2,)).make(Sizes((1, 4, 4), 30_000, 0, 0))
    assert str(caught.value) == (
        "prior 'resampled' computes its constant with quasi-random codes, of at most 21201 numbers; the code has "
        "30000. Set code_size to 21201 or fewer, or use prior 'gaussian'"
    )


def test_a_single_draw_is_refused():
    with pytest.raises(ValidationError):
        Resampled.Config(draws=1)
