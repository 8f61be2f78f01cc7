"""Student's t prior against scipy, its tails, and the gradients of what it learns."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from genprior.parts import Sizes
from genprior.testing import check_prior
from genprior_std.priors.gaussian import Gaussian
from genprior_std.priors.student_t import StudentT


def prior_of(code, **settings):
    return StudentT.Config(**settings).make(Sizes((1, 4, 4), code, 0, 0)).double()


def nothing(n):
    return torch.zeros(n, 0, dtype=torch.float64)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize(("code", "degrees", "scale"), [(1, 1.0, 1.0), (2, 0.7, 3.0), (5, 4.0, 0.2), (64, 30.0, 1.5)])
def test_the_density_is_that_of_scipy(code, degrees, scale, learned):
    torch.manual_seed(0)
    z = 3 * torch.randn(50, code, dtype=torch.float64)
    expected = stats.multivariate_t(shape=scale**2 * torch.eye(code).numpy(), df=degrees).logpdf(z.numpy())
    log_p = prior_of(code, degrees=degrees, scale=scale, learned=learned).log_prob(z, nothing(50))
    # The parameters are made in single precision.
    torch.testing.assert_close(log_p, torch.as_tensor(expected).view(50), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("degrees", "scale"), [(1.0, 1.0), (0.5, 2.0), (6.0, 0.3)])
def test_coordinates_and_lengths_of_samples_are_distributed_as_scipy_says(degrees, scale):
    """Two Kolmogorov-Smirnov tests: a right sampler is refused with probability 1e-3 each; the seed is fixed."""
    torch.manual_seed(1)
    d = 3
    z = prior_of(d, degrees=degrees, scale=scale).sample(nothing(20000)).numpy()
    assert stats.kstest(z[:, 1], stats.t(df=degrees, scale=scale).cdf).pvalue > 1e-3
    square = (z**2).sum(1) / d / scale**2  # |z|^2 / d is F(d, nu)
    assert stats.kstest(square, stats.f(d, degrees).cdf).pvalue > 1e-3


def test_with_many_degrees_it_is_a_gaussian_and_with_few_it_has_heavier_tails():
    z = torch.tensor([[0.3, -1.0], [4.0, 4.0]], dtype=torch.float64)
    gaussian = Gaussian.Config(sigma=2.0).make(Sizes((1, 4, 4), 2, 0, 0)).log_prob(z, nothing(2))
    torch.testing.assert_close(prior_of(2, degrees=1e6, scale=2.0).log_prob(z, nothing(2)), gaussian, rtol=0, atol=2e-5)
    assert (prior_of(2, degrees=2.0, scale=2.0).log_prob(10 * z, nothing(2)) > -25).all()


def test_what_it_learns_has_the_gradients_of_finite_differences():
    prior = prior_of(3, degrees=3.0, scale=0.8, learned=True)
    names = [name for name, _ in prior.named_parameters()]
    assert names == ["log_degrees", "log_scale"]
    torch.manual_seed(2)
    z = torch.randn(4, 3, dtype=torch.float64)

    def log_prob(*values):
        return torch.func.functional_call(prior, dict(zip(names, values, strict=True)), (z,))

    prior.forward = lambda z: prior.log_prob(z, nothing(len(z)))
    assert torch.autograd.gradcheck(log_prob, tuple(p.detach().clone().requires_grad_() for p in prior.parameters()))


def test_the_gradient_of_samples_is_that_of_a_mean():
    """E|z| = sigma E|e| E(nu / g)^(1/2); the mean of 50,000 gradients within 5 standard errors, refused below 1e-5."""
    prior = prior_of(1, degrees=6.0, scale=0.8, learned=True)
    torch.manual_seed(3)
    n = 50000
    prior.sample(nothing(n)).abs().mean().backward()

    def mean(nu, sigma):
        roots = math.exp(math.lgamma((nu - 1) / 2) - math.lgamma(nu / 2)) * math.sqrt(nu / 2)
        return sigma * math.sqrt(2 / math.pi) * roots

    step = 1e-4
    by_degrees = (mean(6 * math.exp(step), 0.8) - mean(6 * math.exp(-step), 0.8)) / (2 * step)
    assert prior.log_scale.grad.item() == pytest.approx(mean(6, 0.8), abs=5 * 0.8 / math.sqrt(n))
    assert prior.log_degrees.grad.item() == pytest.approx(by_degrees, abs=5 * 0.5 / math.sqrt(n))


def test_what_is_fixed_is_no_state():
    assert not prior_of(2).state_dict() and not list(prior_of(2).parameters())


def test_a_learned_one_keeps_the_contract():
    check_prior(StudentT.Config(learned=True, degrees=8.0, scale=0.5), code=3)
