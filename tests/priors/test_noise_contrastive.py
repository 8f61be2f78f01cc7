"""The reweighted prior: its ratio against a known one, a known mixture, and bases that it refuses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributions import Normal
from torch.nn.functional import binary_cross_entropy_with_logits

import genprior
import genprior_std.priors.noise_contrastive
from genprior import Codes, PlanError
from genprior_std.priors.code_generator import CodeGenerator
from genprior_std.priors.gaussian import Gaussian
from genprior_std.priors.kde import KernelDensity
from genprior_std.priors.nearest import Nearest
from genprior_std.priors.noise_contrastive import NoiseContrastive
from genprior_std.priors.two_stage_vae import TwoStageVae
from genprior_std.priors.uniform import Uniform
from genprior_std.priors.vampprior import VampPrior

from .gaussian_clusters import draw, known_mixture
from .two_samples import compare


def slowly(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """At Adam's usual 1e-3 the last batches shift the shares of the clusters."""
    return torch.optim.Adam(parameters, lr=4e-4)


def test_a_known_mixture_in_the_plane_is_recovered() -> None:
    codes, fresh = known_mixture(5000, 2, 0), known_mixture(1000, 2, 1).z
    prior = genprior.fit_prior(NoiseContrastive.Config(proposals=200), codes, steps=1500, batch=512, optimiser=slowly)
    got = compare(draw(prior, codes.asked[:1000]), fresh)
    assert got.mmd < got.bound


def test_in_8_dimensions_a_closer_base_is_needed() -> None:
    """Hardly one of 200 proposals of N(0, I) lies in a cluster: the gap is stated, and `effective` tells of it."""
    codes, fresh = known_mixture(5000, 8, 0), known_mixture(1000, 8, 1).z
    results = []
    for base, steps in ((Gaussian.Config(), 400), (KernelDensity.Config(bandwidth="scott"), 1000)):
        config = NoiseContrastive.Config(base=base, proposals=200)
        prior: Any = genprior.fit_prior(config, codes, steps=steps, batch=512, optimiser=slowly)
        effective = 200 * float(prior.classify(codes).note["effective"])
        results.append((compare(draw(prior, codes.asked[:1000]), fresh), effective))
    (far, few), (near, many) = results
    assert far.mmd > 5 * far.bound and few < 1
    assert near.mmd < near.bound and many > 5


def test_the_classifier_finds_a_known_ratio() -> None:
    """Codes of two points' width each side: log p - log N(0, 1) is known up to its constant."""
    generator = torch.Generator().manual_seed(0)
    e = torch.randn(20000, 1, generator=generator) * 0.5 + 0.8 * torch.randn(20000, 1, generator=generator).sign()
    prior: Any = genprior.fit_prior(NoiseContrastive.Config(), Codes(e, e[:, :0]), steps=1500)
    points = torch.linspace(-1.8, 1.8, 19)[:, None]
    s = prior.standardised.scale
    center, width = 0.8 / s, 0.5 / s
    logs = torch.stack([Normal(sign * center, width).log_prob(points) for sign in (-1, 1)]).logsumexp(0)
    expected = (logs - Normal(0.0, 1.0).log_prob(points))[:, 0]
    with torch.no_grad():
        got = prior.log_ratio(points, points[:, :0])
    assert ((got - got.mean()) - (expected - expected.mean())).abs().mean() < 0.15


class Known(nn.Module):
    """f(e) = a e: under N(0, 1) the reweighted distribution is N(a, 1)."""

    def forward(self, e: torch.Tensor) -> torch.Tensor:
        return 0.7 * e[:, :1]


@pytest.mark.parametrize("room", [2**16, 1000])
def test_resampling_has_the_reweighted_distribution(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genprior_std.priors.noise_contrastive, "ROOM", room)
    codes = Codes(torch.randn(100, 1), torch.zeros(100, 0))
    prior: Any = genprior.fit_prior(NoiseContrastive.Config(proposals=200), codes, steps=1)
    prior.classifier = Known()
    e = prior.standardised(draw(prior, torch.zeros(8000, 0)))[:, 0]
    assert float(e.mean()) == pytest.approx(0.7, abs=0.05)  # standard error .011, and a bias of order 1/200
    assert float(e.std()) == pytest.approx(1.0, abs=0.04)


def test_the_loss_is_the_logistic_loss() -> None:
    codes = known_mixture(64, 2, 0, conditional=True)
    prior: Any = genprior.fit_prior(NoiseContrastive.Config(hidden=(8,)), codes, steps=5)
    torch.manual_seed(1)
    got = prior.classify(codes)["classifier"].detach()
    torch.manual_seed(1)
    with torch.no_grad():
        base = torch.randn(64, 2)
        e = torch.cat([(codes.z - codes.z.mean(0)) / codes.z.std(0, correction=0), base])
        logits = prior.classifier(torch.cat([e, codes.asked.repeat(2, 1)], 1))[:, 0]
        expected = 2 * binary_cross_entropy_with_logits(logits, torch.tensor([1.0, 0.0]).repeat_interleave(64))
    assert float(got) == pytest.approx(float(expected), rel=1e-5)


def test_with_a_condition_draws_are_near_the_codes_of_that_condition() -> None:
    """Two draws of the joint distribution of codes and conditions are compared: the condition is part of the point."""
    codes, fresh = (known_mixture(n, 2, seed, conditional=True) for n, seed in ((3000, 0), (1000, 1)))
    prior = genprior.fit_prior(NoiseContrastive.Config(proposals=200), codes, steps=800)
    drawn = draw(prior, fresh.asked)
    together, wrong = (
        compare(torch.cat([drawn, 20 * asked], 1), torch.cat([fresh.z, 20 * fresh.asked], 1))
        for asked in (fresh.asked, fresh.asked.roll(1, 0))
    )
    assert together.mmd < 2 * together.bound
    assert wrong.mmd > 3 * wrong.bound


def test_the_base_is_fitted_to_standardised_codes_and_stays_as_it_is() -> None:
    codes = known_mixture(200, 2, 0, conditional=True)
    prior: Any = genprior.fit_prior(NoiseContrastive.Config(base=Nearest.Config(), proposals=5), codes, steps=20)
    assert torch.equal(prior.base.codes.sort(0).values, prior.standardised(codes.z).sort(0).values)
    drawn = prior.standardised(draw(prior, codes.asked))
    assert float(torch.cdist(drawn, prior.base.codes).amin(1).amax()) < 1e-3


def test_a_fit_is_repeated_bit_for_bit() -> None:
    codes = known_mixture(300, 2, 0)
    first, second = (genprior.fit_prior(NoiseContrastive.Config(), codes, steps=5) for _ in range(2))
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize(
    ("base", "why"),
    [
        (TwoStageVae.Config(), "base 'two_stage_vae', which is trained by steps"),
        (CodeGenerator.Config(), "base 'code_generator', which has parameters that are trained with a model"),
        (VampPrior.Config(), "base 'vampprior', which borrows encoder of the model"),
    ],
)
def test_a_base_that_nothing_would_train_is_refused(base: Any, why: str) -> None:
    with pytest.raises(PlanError, match=f"{why}. The base is fixed"):
        genprior.fit_prior(NoiseContrastive.Config(base=base), known_mixture(50, 2, 0))


def test_few_codes_are_refused_by_it_and_by_its_base() -> None:
    one = Codes(torch.zeros(1, 2), torch.zeros(1, 0))
    for base in (Uniform.Config(), KernelDensity.Config()):
        with pytest.raises(PlanError, match="prior 'noise_contrastive' standardises .* the number of codes is 1"):
            genprior.fit_prior(NoiseContrastive.Config(base=base), one)
    apart = Codes(torch.randn(3, 2), torch.eye(2)[[0, 0, 1]])
    with pytest.raises(PlanError, match=r"prior 'kde' .* needs at least 2 of each; condition 1 \(of 0 to 1\) has 1"):
        genprior.fit_prior(NoiseContrastive.Config(base=KernelDensity.Config()), apart)
