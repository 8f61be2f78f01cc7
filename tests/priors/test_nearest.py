"""The memorising baseline: every draw is a training code of its condition."""

from __future__ import annotations

import pytest
import torch

import genprior
from genprior import Codes, PlanError
from genprior_std.priors.nearest import Nearest

from .gaussian_clusters import draw, known_mixture
from .two_samples import compare


def test_every_draw_is_a_training_code_and_all_come_equally_often() -> None:
    z = torch.randn(20, 3)
    prior = genprior.fit_prior(Nearest.Config(), Codes(z, z[:, :0]))
    drawn = draw(prior, torch.zeros(20000, 0))
    equal = (drawn[:, None] == z).all(2)
    assert equal.any(1).all()
    assert ((equal.sum(0) - 1000).abs() < 5 * (20000 * 0.05 * 0.95) ** 0.5).all()


def test_with_a_condition_codes_have_that_condition() -> None:
    codes = known_mixture(300, 2, 0, conditional=True)
    prior = genprior.fit_prior(Nearest.Config(), codes)
    asked = codes.asked.flip(0)
    place = (draw(prior, asked)[:, None] == codes.z).all(2).int().argmax(1)
    assert torch.equal(codes.asked[place], asked)


@pytest.mark.parametrize("d", [2, 8])
def test_a_known_mixture_is_recovered(d: int) -> None:
    codes, fresh = known_mixture(2000, d, 0), known_mixture(1000, d, 1).z
    got = compare(draw(genprior.fit_prior(Nearest.Config(), codes), codes.asked[:1000]), fresh)
    assert got.mmd < got.bound


def test_conditions_without_codes_are_refused() -> None:
    with pytest.raises(PlanError, match=r"needs at least 1 of each; condition 1 \(of 0 to 2\) has 0"):
        genprior.fit_prior(Nearest.Config(), Codes(torch.randn(2, 2), torch.eye(3)[[0, 2]]))
    with pytest.raises(PlanError, match="prior 'nearest' draws from the training codes of one condition"):
        genprior.fit_prior(Nearest.Config(), Codes(torch.randn(2, 2), torch.randn(2, 3)))
