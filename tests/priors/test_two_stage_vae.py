"""The VAE of codes: its loss against torch's distributions, and a known mixture, conditional and not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

import genprior
from genprior import Codes, PlanError
from genprior_std.priors.two_stage_vae import TwoStageVae

from .gaussian_clusters import draw, known_mixture
from .two_samples import compare

SMALL: dict[str, Any] = {"hidden": (128, 128)}


@pytest.mark.parametrize(("d", "times"), [(2, 2.0), (8, 1.5)])
def test_a_known_mixture_is_recovered_up_to_a_stated_gap(d: int, times: float) -> None:
    """After 2,000 steps its MMD is up to that many times the bound of the null spread; a Gaussian's is 5 and 2.6."""
    codes, fresh = known_mixture(5000, d, 0), known_mixture(1000, d, 1).z
    prior: Any = genprior.fit_prior(TwoStageVae.Config(**SMALL), codes, steps=2000, batch=128)
    got = compare(draw(prior, codes.asked[:1000]), fresh)
    assert got.mmd < times * got.bound
    assert 0.03 < float(prior.decoder.deviation().detach()) < 0.35


def test_the_loss_is_that_of_torchs_distributions() -> None:
    codes = known_mixture(50, 3, 0, conditional=True)
    prior: Any = genprior.fit_prior(TwoStageVae.Config(hidden=(16, 8), code_size=2), codes, steps=20)
    torch.manual_seed(0)
    objectives = prior.elbo(codes)
    with torch.no_grad():
        e = (codes.z - codes.z.mean(0)) / codes.z.std(0, correction=0)
        mean, log_variance = prior.encoder(torch.cat([e, codes.asked], 1)).chunk(2, 1)
        q = Independent(Normal(mean, (0.5 * log_variance).exp()), 1)
        torch.manual_seed(0)
        u = q.rsample()
        p = Independent(Normal(prior.decoder(torch.cat([u, codes.asked], 1)), prior.decoder.log_gamma.exp()), 1)
        kl = kl_divergence(q, Independent(Normal(torch.zeros(50, 2), 1.0), 1))
        expected = (kl - p.log_prob(e)).mean()
    assert float(objectives["encoder"].detach()) == pytest.approx(float(expected), rel=1e-4)
    assert objectives["encoder"] is objectives["decoder"]
    assert float(objectives.note["kl"].detach()) == pytest.approx(float(kl.mean()), rel=1e-4)


def test_with_a_condition_draws_are_near_the_codes_of_that_condition() -> None:
    """Two draws of the joint distribution of codes and conditions are compared: the condition is part of the point."""
    codes, fresh = (known_mixture(n, 2, seed, conditional=True) for n, seed in ((3000, 0), (1000, 1)))
    prior = genprior.fit_prior(
        TwoStageVae.Config(**SMALL), codes, steps=600, optimiser=lambda p: torch.optim.Adam(p, lr=3e-3)
    )
    drawn = draw(prior, fresh.asked)
    together, wrong = (
        compare(torch.cat([drawn, 20 * asked], 1), torch.cat([fresh.z, 20 * fresh.asked], 1))
        for asked in (fresh.asked, fresh.asked.roll(1, 0))
    )
    assert together.mmd < 2 * together.bound
    assert wrong.mmd > 3 * wrong.bound


def test_a_fit_is_repeated_bit_for_bit() -> None:
    codes = known_mixture(300, 2, 0)
    first, second = (genprior.fit_prior(TwoStageVae.Config(**SMALL), codes, steps=5) for _ in range(2))
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_an_outlier_keeps_the_loss_finite() -> None:
    codes = known_mixture(300, 2, 0)
    codes.z[0] = 1e4
    prior: Any = genprior.fit_prior(TwoStageVae.Config(**SMALL), codes, steps=100)
    assert torch.isfinite(prior.elbo(codes)["decoder"].detach())


def test_a_single_code_is_refused() -> None:
    with pytest.raises(PlanError, match="prior 'two_stage_vae' standardises .* at least 2; the number of codes is 1"):
        genprior.fit_prior(TwoStageVae.Config(), Codes(torch.zeros(1, 2), torch.zeros(1, 0)))
