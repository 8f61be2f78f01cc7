"""The kernel density estimate: its density is that of scikit-learn and SciPy, and so are its bandwidths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import gaussian_kde, norm
from sklearn.model_selection import GridSearchCV, LeaveOneOut
from sklearn.neighbors import KernelDensity as SklearnKernelDensity

import genprior
import genprior_std.priors.kde
from genprior import Codes, GenpriorWarning, PlanError, Sizes
from genprior_std.priors.kde import KernelDensity, effective_number, leave_one_out

from .gaussian_clusters import draw, known_mixture
from .two_samples import compare


def fitted(codes: Codes, **settings: Any) -> Any:
    return genprior.fit_prior(KernelDensity.Config(**settings), codes)


@pytest.mark.parametrize("room", [2**22, 700])
def test_the_density_is_that_of_scikit_learn(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genprior_std.priors.kde, "ROOM", room)  # all rows at once, and two at a time
    codes, points = known_mixture(300, 3, 0), known_mixture(40, 3, 1).z.double()
    z = codes.z.double()
    prior = fitted(Codes(z, z[:, :0]), bandwidth=0.3)
    deviation = z.numpy().std(0)
    theirs = SklearnKernelDensity(bandwidth=0.3).fit(z.numpy() / deviation)
    expected = theirs.score_samples(points.numpy() / deviation) - np.log(deviation).sum()
    assert prior.log_prob(points, points[:, :0]).numpy() == pytest.approx(expected, rel=1e-9)
    single = fitted(codes, bandwidth=0.3)
    assert single.log_prob(points.float(), points[:, :0].float()).numpy() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("rule", ["scott", "silverman"])
def test_the_rules_are_those_of_scipy(rule: str) -> None:
    z = known_mixture(200, 1, 0).z.double()
    prior = fitted(Codes(z, z[:, :0]), bandwidth=rule)
    theirs = gaussian_kde(z[:, 0].numpy(), bw_method=rule)
    theirs.set_bandwidth(theirs.factor * np.sqrt(199 / 200))  # its variance of the codes divides by n - 1
    points = torch.linspace(-5, 25, 50, dtype=torch.float64)[:, None]
    assert prior.log_prob(points, points[:, :0]).numpy() == pytest.approx(theirs.logpdf(points[:, 0].numpy()), rel=1e-9)


def test_cross_validation_is_that_of_scikit_learn() -> None:
    z = known_mixture(120, 2, 0).z.double()
    prior = fitted(Codes(z, z[:, :0]))
    e = z.numpy() / z.numpy().std(0)
    grid = 120 ** (-1 / 6) * np.logspace(np.log10(0.02), np.log10(2), 24)
    theirs = GridSearchCV(SklearnKernelDensity(), {"bandwidth": grid}, cv=LeaveOneOut()).fit(e)
    assert (prior.widths[0] / z.std(0, correction=0)).numpy() == pytest.approx(theirs.best_params_["bandwidth"])
    ours = leave_one_out(torch.from_numpy(e), torch.arange(120), torch.from_numpy(grid))
    # Its trees do not find the far kernels of small bandwidths.
    assert ours[8:].numpy() == pytest.approx(theirs.cv_results_["mean_test_score"][8:], rel=1e-6)
    rest = [np.delete(e, i, 0) for i in range(120)]
    logs = [
        np.mean([logsumexp(norm.logpdf(one, others, h).sum(1)) for one, others in zip(e, rest, strict=True)])
        for h in grid
    ]
    assert ours.numpy() == pytest.approx(np.array(logs) - np.log(119), rel=1e-9)


@pytest.mark.parametrize("d", [2, 8])
def test_a_known_mixture_is_recovered(d: int) -> None:
    codes, fresh = known_mixture(2000, d, 0), known_mixture(1000, d, 1).z
    got = compare(draw(fitted(codes), codes.asked[:1000]), fresh)
    assert got.mmd < got.bound


def test_a_rule_for_one_gaussian_is_too_wide_for_clusters() -> None:
    codes, fresh = known_mixture(2000, 8, 0), known_mixture(1000, 8, 1).z
    scott, chosen = fitted(codes, bandwidth="scott"), fitted(codes)
    got = compare(draw(scott, codes.asked[:1000]), fresh)
    assert got.mmd > got.bound
    assert float((chosen.log_prob(fresh, fresh[:, :0]) - scott.log_prob(fresh, fresh[:, :0])).mean()) > 1


def test_with_a_condition_it_is_the_estimate_of_the_codes_with_that_condition() -> None:
    codes = known_mixture(500, 2, 0, conditional=True)
    prior = fitted(codes, bandwidth="silverman")
    points = known_mixture(50, 2, 1).z
    for place in range(5):
        own = codes.z[codes.asked[:, place] == 1]
        alone = fitted(Codes(own, own[:, :0]), bandwidth="silverman")
        asked = torch.eye(5)[place].expand(50, -1)
        assert torch.allclose(prior.log_prob(points, asked), alone.log_prob(points, points[:, :0]), rtol=1e-5)
        distances = torch.cdist(draw(prior, asked), own).amin(1) / prior.widths[place].norm()
        assert float(distances.amax()) < 4


def test_its_draws_depend_on_torchs_seed_alone() -> None:
    codes = known_mixture(1500, 2, 0)  # more than cross-validation looks at
    first, second = fitted(codes), fitted(codes)
    assert torch.equal(first.widths, second.widths)
    assert torch.equal(draw(first, codes.asked), draw(second, codes.asked))


def test_codes_that_do_not_vary_are_drawn_as_they_are() -> None:
    z = torch.cat([torch.randn(50, 1), torch.full((50, 1), 7.0)], 1)
    prior = fitted(Codes(z, z[:, :0]), bandwidth=0.5)
    assert torch.allclose(draw(prior, z[:, :0])[:, 1], torch.tensor(7.0), atol=1e-3)
    assert torch.isfinite(prior.log_prob(z, z[:, :0])).all()


def test_few_codes_are_refused() -> None:
    with pytest.raises(PlanError, match="prior 'kde' scales its kernels .* at least 2; the number of codes is 1"):
        fitted(Codes(torch.zeros(1, 2), torch.zeros(1, 0)))
    with pytest.raises(
        PlanError, match=r"needs at least 2 of each; condition 2 \(of 0 to 2\) has 1. Train with images of every"
    ):
        fitted(Codes(torch.randn(5, 2), torch.eye(3)[[0, 0, 1, 1, 2]]))


@pytest.mark.parametrize("rule", ["cross_validation", "scott", "silverman"])
@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_equal_codes_do_not_change_the_bandwidth(rule: str, noise: float) -> None:
    """Three draws of a deterministic encoder, which may differ by rounding, give the estimate of one."""
    z = known_mixture(150, 4, 0).z
    drawn = torch.cat([z, z + noise * torch.randn_like(z), z])
    once, thrice = (fitted(Codes(codes, codes[:, :0]), bandwidth=rule) for codes in (z, drawn))
    assert thrice.widths.numpy() == pytest.approx(once.widths.numpy(), rel=1e-5)
    points = known_mixture(30, 4, 1).z
    assert thrice.log_prob(points, points[:, :0]).numpy() == pytest.approx(
        once.log_prob(points, points[:, :0]).numpy(), rel=1e-3
    )


def test_some_repeated_codes_count_as_weights_do_in_scipy() -> None:
    z, times = known_mixture(60, 1, 0).z.double(), 1 + np.arange(60) % 4
    repeated = z.repeat_interleave(torch.from_numpy(times), 0)
    assert effective_number(repeated, torch.arange(len(repeated))) == pytest.approx(
        gaussian_kde(z[:, 0].numpy(), weights=times).neff
    )
    e = repeated / repeated.std(0, correction=0)
    h = torch.tensor([0.1, 0.5], dtype=torch.float64)
    expected = []
    for one in e.numpy():
        others = e.numpy()[(e.numpy() != one).any(1)]
        expected.append([logsumexp(norm.logpdf(one, others, float(w)).sum(1)) - np.log(len(others)) for w in h])
    assert leave_one_out(e, torch.arange(len(e)), h).numpy() == pytest.approx(np.mean(expected, 0))


def test_codes_that_are_all_equal_have_scotts_bandwidth() -> None:
    z = torch.full((40, 2), 1.5)
    with pytest.warns(GenpriorWarning, match="all 40 codes of training images are equal"):
        widths = fitted(Codes(z, z[:, :0])).widths
        assert torch.equal(widths, fitted(Codes(z, z[:, :0]), bandwidth="scott").widths)
    assert torch.isfinite(widths).all()


def test_a_condition_that_is_not_a_one_hot_is_refused() -> None:
    message = "prior 'kde' draws from the training codes of one condition, so it needs a one-hot .* has 3 numbers"
    with pytest.raises(PlanError, match=message):
        fitted(Codes(torch.randn(5, 2), torch.randn(5, 3)))
    prior = KernelDensity.Config().make(Sizes((1, 8, 8), 2, 3, 3, one_hot=True))
    with pytest.raises(PlanError, match=message):
        prior.begin_fit(Codes(torch.randn(5, 2), torch.ones(5, 3)))


@pytest.mark.parametrize("bandwidth", [0, -1.0, float("inf"), "wide"])
def test_impossible_bandwidths_are_refused(bandwidth: Any) -> None:
    with pytest.raises(ValueError, match="bandwidth"):
        KernelDensity.Config(bandwidth=bandwidth)
