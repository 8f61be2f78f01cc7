"""The energy-based prior: Langevin dynamics and learning against Gaussian energies, of which all is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from genprior.parts import Sizes
from genprior_std.priors.latent_ebm import LatentEnergy

N = 20_000
A, B = 0.8, 0.5


class Quadratic(nn.Module):
    """f(z) = b sum z - a |z|^2 / 2: p(z) is a Gaussian of precision 1 + a and mean b / (1 + a)."""

    def __init__(self):
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.tensor(value, dtype=torch.float64)) for value in (A, B))

    def forward(self, z):
        return (self.b * z - 0.5 * self.a * z.square()).sum(1, keepdim=True)


def prior_of(steps, size):
    prior = LatentEnergy.Config(langevin_steps=steps, step_size=size).make(Sizes((1, 4, 4), 2, 0, 0))
    prior.network = Quadratic()
    return prior


def asked(n=N):
    return torch.zeros(n, 0, dtype=torch.float64)


def moments(steps, size):
    """Mean and variance of z_K from N(0, 1) under a quadratic energy: z' = (1 - h) z + h mean + s e, h = s^2 / 2 l."""
    mean, variance, precision = 0.0, 1.0, 1 + A
    keep = 1 - 0.5 * size**2 * precision
    for _ in range(steps):
        mean, variance = keep * mean + 0.5 * size**2 * B, keep**2 * variance + size**2
    return mean, variance


@pytest.mark.parametrize(("steps", "size"), [(1, 0.4), (3, 0.9), (150, 0.4), (60, 0.2)])
def test_langevin_has_the_moments_of_a_gaussian_energy(steps, size):
    """Mean and variance of 40,000 numbers within 5 standard errors: refused at random below 1e-5."""
    torch.manual_seed(steps)
    z = prior_of(steps, size).sample(asked()).flatten()
    mean, variance = moments(steps, size)
    assert z.mean().item() == pytest.approx(mean, abs=5 * math.sqrt(variance / len(z)))
    assert z.var().item() == pytest.approx(variance, abs=5 * variance * math.sqrt(2 / len(z)))


def test_long_chains_of_small_steps_reach_the_tilted_gaussian():
    precision = 1 + A
    for size in (0.4, 0.1):
        mean, variance = moments(5000, size)
        assert mean == pytest.approx(B / precision)
        assert variance == pytest.approx(1 / precision / (1 - size**2 * precision / 4))  # as the docstring says


def test_the_energy_is_that_of_the_tilted_gaussian_up_to_a_constant():
    prior = prior_of(1, 0.1)
    z = torch.randn(50, 2, dtype=torch.float64)
    exact = torch.distributions.Normal(B / (1 + A), (1 + A) ** -0.5).log_prob(z).sum(1)
    difference = -prior.energy(z, asked(50)) - exact
    assert torch.allclose(difference, difference[:1].expand(50))


def test_the_surrogate_has_the_gradients_of_log_p():
    """In the parameters in expectation under the chains' own moments, within 5 standard errors; in z exactly."""
    prior = prior_of(150, 0.4)
    mean, variance = moments(150, 0.4)
    torch.manual_seed(5)
    z = (0.3 * torch.randn(N, 2, dtype=torch.float64) + 1).requires_grad_()
    surrogate = prior.log_prob_surrogate(z, asked())
    assert surrogate.shape == (N,)
    in_a, in_b, in_z = torch.autograd.grad(surrogate.sum() / N, [prior.network.a, prior.network.b, z])
    second = variance + mean**2
    assert in_b.item() == pytest.approx((z.sum(1).mean() - 2 * mean).item(), abs=5 * math.sqrt(2 * variance / N))
    spread = math.sqrt(2 * (2 * variance**2 + 4 * mean**2 * variance) / N) / 2
    assert in_a.item() == pytest.approx((second - z.square().sum(1).mean() / 2).item(), abs=5 * spread)
    assert torch.allclose(in_z * N, B - (1 + A) * z)
    entropy = 2 * 0.5 * math.log(2 * math.pi * math.e / (1 + A))
    exact = torch.distributions.Normal(B / (1 + A), (1 + A) ** -0.5).log_prob(z).sum(1).mean()
    assert (surrogate.mean() - exact).item() == pytest.approx(entropy, abs=0.1)  # the chains' variance is 8 % larger


def test_maximum_likelihood_by_the_surrogate_recovers_a_gaussian():
    torch.manual_seed(6)
    prior = prior_of(30, 0.3)
    z = 0.6 * torch.randn(500, 2, dtype=torch.float64) - 0.4
    optimiser = torch.optim.Adam(prior.parameters(), lr=0.05)
    for _ in range(120):
        optimiser.zero_grad()
        (-prior.log_prob_surrogate(z, asked(500)).mean()).backward()
        optimiser.step()
    drawn = prior.sample(asked())
    assert drawn.mean().item() == pytest.approx(z.mean().item(), abs=0.05)
    assert drawn.std().item() == pytest.approx(z.std().item(), abs=0.05)


def test_sampling_works_without_gradients_and_leaves_none():
    prior = prior_of(5, 0.3)
    draws = []
    for enabled in (True, False):
        with torch.set_grad_enabled(enabled):
            torch.manual_seed(7)
            draws.append(prior.sample(asked(4)))
    assert torch.equal(*draws)
    assert not draws[0].requires_grad
    assert all(parameter.grad is None for parameter in prior.parameters())


def test_an_untrained_network_tilts_little():
    prior = LatentEnergy.Config(hidden=(8,), langevin_steps=20).make(Sizes((1, 4, 4), 3, 0, 0))
    torch.manual_seed(8)
    assert prior.sample(torch.zeros(2000, 0)).std().item() == pytest.approx(1, abs=0.2)


def gradients(penalty):
    """The surrogate at codes, its gradients in f and in the codes, and those of f squared at codes and samples."""
    prior = prior_of(3, 0.4)
    prior.config = prior.config.model_copy(update={"penalty": penalty})
    z = torch.linspace(-1, 2, 20, dtype=torch.float64).view(10, 2).requires_grad_()
    torch.manual_seed(0)
    value = prior.log_prob_surrogate(z, asked(10))
    found = torch.autograd.grad(value.mean(), [*prior.network.parameters(), z])
    torch.manual_seed(0)
    drawn = prior.sample(asked(10))
    squares = sum(prior.network(each.detach()).square().mean() for each in (z, drawn))
    return value.detach(), found, torch.autograd.grad(squares, list(prior.network.parameters()))


def test_the_penalty_changes_the_gradient_of_f_alone():
    """By -a times that of f(z)^2 + f(z')^2; the number and the gradient in the codes stay as they are."""
    value, (*of_f, of_codes), squares = gradients(0.0)
    penalised, (*of_penalised, of_codes_too), _ = gradients(0.3)
    assert torch.equal(value, penalised) and torch.equal(of_codes, of_codes_too)
    for plain, with_penalty, square in zip(of_f, of_penalised, squares, strict=True):
        torch.testing.assert_close(with_penalty, plain - 0.3 * square)


@pytest.mark.parametrize("penalty", [0.0, 0.1, 0.2])
def test_few_steps_need_a_penalty(penalty):
    """Codes at 3 in all numbers, farther than 10 steps go: f there grows without bound, but for the penalty.

    f is free to take one value t at codes and another one t' at samples, so t - t' - a (t^2 + t'^2) is largest at
    t = 1 / (2 a) and t' = -1 / (2 a).
    """
    torch.manual_seed(0)
    prior = LatentEnergy.Config(langevin_steps=10, hidden=[32], penalty=penalty).make(Sizes((1, 4, 4), 8, 0, 0))
    optimiser = torch.optim.Adam(prior.parameters(), lr=2e-3)
    codes, none = torch.full((64, 8), 3.0), torch.zeros(64, 0)
    for _ in range(400):
        optimiser.zero_grad()
        (-prior.log_prob_surrogate(codes + 0.1 * torch.randn(64, 8), none).mean()).backward()
        optimiser.step()
    of_codes = prior.network(codes).detach()
    of_samples = prior.network(prior.sample(torch.zeros(2000, 0))).detach()
    if penalty:
        bound = 1 / (2 * penalty)
        assert float(of_codes.mean()) == pytest.approx(bound, rel=0.05)
        assert float(of_samples.mean()) == pytest.approx(-bound, rel=0.05)
    else:
        assert float(of_codes.mean()) > 100
