"""Flow matching and diffusion: solvers against exact solutions, losses against closed forms, and known mixtures."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor

import genprior
from genprior import Codes, PartConfig, Sizes
from genprior_std.priors.diffusion import Diffusion, noise_levels
from genprior_std.priors.flow_matching import FlowMatching

from .known_mixture import Falling, draw_mixture, same_moments
from .two_samples import compare

MEAN = torch.tensor([1.0, -0.5, 0.2], dtype=torch.float64)
COVARIANCE = torch.tensor([[1.5, 0.6, 0.0], [0.6, 0.8, -0.2], [0.0, -0.2, 0.3]], dtype=torch.float64)
ONE = torch.eye(3, dtype=torch.float64)
NONE = torch.zeros(20_000, 0, dtype=torch.float64)


def root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ values.sqrt().diag() @ vectors.T


def prior_of(config: PartConfig, code: int = 3) -> Any:
    return config.make(Sizes((1, 8, 8), code, 0, 0)).double().eval()


def exact_velocity(z: Tensor, t: Tensor, asked: Tensor) -> Tensor:
    """E[z_1 - z_0 | z_t = z] for codes z_1 ~ N(MEAN, COVARIANCE)."""
    s = t[0, 0]
    of_path = (1 - s) ** 2 * ONE + s**2 * COVARIANCE
    return MEAN + (z - s * MEAN) @ torch.linalg.solve(of_path, s * COVARIANCE - (1 - s) * ONE)


def exact_denoiser(x: Tensor, sigma: Tensor, asked: Tensor) -> Tensor:
    """E[z | z + sigma e = x] for codes z ~ N(MEAN, COVARIANCE)."""
    return MEAN + (x - MEAN) @ torch.linalg.solve(COVARIANCE + sigma[0, 0] ** 2 * ONE, COVARIANCE)


def largest_error(config: PartConfig, monkeypatch: pytest.MonkeyPatch) -> tuple[float, Tensor]:
    """The largest distance of a draw from the exact end of its path, and the draws [20000, 3]."""
    prior = prior_of(config)
    with monkeypatch.context() as patch, torch.no_grad():
        if isinstance(prior, FlowMatching):
            patch.setattr(prior, "velocity", exact_velocity)
        else:
            patch.setattr(prior, "denoiser", exact_denoiser)
        torch.manual_seed(0)
        draws = prior.sample(NONE)
    torch.manual_seed(0)
    noise = torch.randn(20_000, 3, dtype=torch.float64)
    if isinstance(prior, FlowMatching):
        exact = MEAN + noise @ root(COVARIANCE)
    else:
        exact = MEAN + (80 * noise - MEAN) @ root(torch.linalg.solve(COVARIANCE + 80**2 * ONE, COVARIANCE))
    return float((draws - exact).abs().max()), draws


@pytest.mark.parametrize("config", [FlowMatching.Config(), Diffusion.Config(sampler_steps=100)], ids=lambda c: c.name)
def test_with_the_exact_field_of_a_gaussian_draws_follow_it(
    config: PartConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each draw is the exact end of its path, and mean and covariance are the Gaussian's, in 5 standard errors."""
    error, draws = largest_error(config, monkeypatch)
    assert error < 0.02
    assert torch.allclose(draws.mean(0), MEAN, atol=5 * math.sqrt(1.5 / 20_000))
    assert torch.allclose(torch.cov(draws.T), COVARIANCE, atol=5 * 1.5 * math.sqrt(2 / 20_000))


@pytest.mark.parametrize(
    ("coarse", "fine"),
    [
        (FlowMatching.Config(solver_steps=40), FlowMatching.Config(solver_steps=80)),
        (Diffusion.Config(sampler_steps=40), Diffusion.Config(sampler_steps=80)),
    ],
    ids=["flow_matching", "diffusion"],
)
def test_the_solvers_are_of_order_two(coarse: PartConfig, fine: PartConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    ratio = largest_error(coarse, monkeypatch)[0] / largest_error(fine, monkeypatch)[0]
    assert ratio > 3.5  # 4 for order 2; the midpoint method gains an order on this symmetric path


def test_the_noise_levels_are_those_of_the_paper() -> None:
    levels = noise_levels(18)
    assert len(levels) == 19 and levels[-1] == 0
    assert levels[0] == pytest.approx(80) and levels[-2] == pytest.approx(0.002)
    roots = [level ** (1 / 7) for level in levels[:-1]]
    assert [a - b for a, b in zip(roots, roots[1:], strict=False)] == pytest.approx([(roots[0] - roots[-1]) / 17] * 17)


SMALL = [FlowMatching.Config(hidden=(8,)), Diffusion.Config(hidden=(8,), sampler_steps=100)]


@pytest.mark.parametrize("config", SMALL, ids=lambda c: c.name)
def test_before_training_it_is_the_gaussian_of_the_codes_moments(config: PartConfig) -> None:
    prior = prior_of(config)
    z = MEAN + torch.randn(500, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) @ root(COVARIANCE)
    prior.begin_fit(Codes(z, z[:, :0]))
    with torch.no_grad():
        torch.manual_seed(2)
        draws = prior.sample(NONE[:1000])
    torch.manual_seed(2)
    noise = torch.randn(1000, 3, dtype=torch.float64)
    expected = z.mean(0) + z.std(0, correction=0) * noise
    assert float((draws - expected).abs().max()) < 0.02


@pytest.mark.parametrize(
    ("config", "expected"), [(SMALL[0], math.pi / 2), (SMALL[1], 1.0)], ids=["flow_matching", "diffusion"]
)
def test_the_loss_of_standard_normal_codes_is_its_closed_form(config: PartConfig, expected: float) -> None:
    """The field is exact for them before training, and what it cannot know remains.

    Of z_1 - z_0 given z_t the variance is 1 / (t^2 + (1 - t)^2), whose integral over t is pi / 2. Of a code given its
    noisy version it is c_out^2, by which the loss is divided.
    """
    prior = prior_of(config)
    (phase,) = prior.phases()
    torch.manual_seed(3)
    z = torch.randn(200_000, 3, dtype=torch.float64)
    with torch.no_grad():
        (loss,) = phase.objectives(Codes(z, z[:, :0])).values()
    assert float(loss) == pytest.approx(expected, rel=5 * math.sqrt(4 / 600_000))  # relative variance below 4


def fitted(config: PartConfig, codes: Codes, steps: int, rate: float = 3e-3, batch: int = 256) -> Any:
    return genprior.fit_prior(
        config, codes, steps=steps, batch=batch, optimiser=lambda parameters: Falling(parameters, rate, steps)
    )


def check_recovered(config: PartConfig, width: int, n: int, steps: int, rate: float, batch: int) -> None:
    """The MMD of n draws and n fresh codes is within its null spread: a right prior fails with one seed in 100.

    The test has power: draws of the Gaussian with the mixture's mean and covariance are found out.
    """
    z, fresh = draw_mixture(20_000, width, seed=1), draw_mixture(n, width, seed=2)
    prior = fitted(config, Codes(z, z[:, :0]), steps, rate, batch)
    torch.manual_seed(3)
    with torch.no_grad():
        draws = prior.sample(torch.zeros(n, 0))
    assert compare(draws, fresh, permutations=400, scaled=True).quantile < 0.99
    assert compare(same_moments(z, n, seed=4), fresh, permutations=400, scaled=True).quantile == 1


@pytest.mark.parametrize("width", [2, 8])
@pytest.mark.parametrize("part", [FlowMatching, Diffusion], ids=lambda p: p.name)
def test_a_known_mixture_is_recovered(part: Any, width: int) -> None:
    check_recovered(part.Config(hidden=(64, 64, 64)), width, n=1000, steps=2000, rate=3e-3, batch=512)


@pytest.mark.slow
@pytest.mark.parametrize("width", [2, 8])
@pytest.mark.parametrize("part", [FlowMatching, Diffusion], ids=lambda p: p.name)
def test_the_default_networks_recover_it_more_closely(part: Any, width: int) -> None:
    check_recovered(part.Config(), width, n=2000, steps=3000, rate=1e-3, batch=256)


@pytest.mark.parametrize("part", [FlowMatching, Diffusion], ids=lambda p: p.name)
def test_a_condition_is_learned(part: Any) -> None:
    torch.manual_seed(6)
    centres = torch.tensor([[20.0, 0.0], [-20.0, 0.0], [0.0, 20.0]])
    y = torch.randint(3, (6000,))
    z = centres[y] + 5 * torch.randn(6000, 2)
    prior = fitted(part.Config(hidden=(64, 64)), Codes(z, torch.eye(3)[y]), 500)
    torch.manual_seed(7)
    for k in range(3):
        with torch.no_grad():
            draws = prior.sample(torch.eye(3)[k].expand(1000, -1))
        assert (draws.mean(0) - centres[k]).abs().max() < 1.5
        assert (draws.std(0) - 5).abs().max() < 1.0


def width_after_heun(steps: int) -> float:
    """The standard deviation of samples of N(0, 1): each step of dx / d sigma = x sigma / (1 + sigma^2) is a factor."""
    high, low = 80 ** (1 / 7), 0.002 ** (1 / 7)
    levels = [(high + (low - high) * i / (steps - 1)) ** 7 for i in range(steps)]
    width = levels[0]
    for now, after in itertools.pairwise(levels):
        slope, step = now / (1 + now**2), after - now
        width *= 1 + step / 2 * (slope + (1 + step * slope) * after / (1 + after**2))
    return width * (1 - low**7 * low**7 / (1 + low**14))  # the last step, to 0, is one of Euler


@pytest.mark.parametrize(("steps", "stated"), [(5, "91"), (10, "18"), (20, "3.5"), (50, "0.5")])
def test_few_steps_of_diffusion_draw_too_wide(steps: int, stated: str) -> None:
    """As the setting states: the untrained denoiser is the exact one of N(0, I), so the sampler alone is wrong."""
    deviation = width_after_heun(steps)
    assert f"{100 * (deviation - 1):.{len(stated.partition('.')[2])}f}" == stated
    words = " ".join(str(Diffusion.Config.model_fields["sampler_steps"].description).split())
    assert re.search(rf"\b{re.escape(stated)} % with {steps}\b", words)
    prior = Diffusion.Config(hidden=(4,), sampler_steps=steps).make(Sizes((1, 8, 8), 10, 0, 0)).double()
    torch.manual_seed(0)
    with torch.no_grad():
        z = prior.sample(torch.zeros(20_000, 0, dtype=torch.float64))
    assert float(z.std()) == pytest.approx(deviation, rel=0.008)  # five standard errors
