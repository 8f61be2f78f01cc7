"""gaussian_mixture fitted to codes: by expectation maximisation as scikit-learn, and per condition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture as Reference

import genprior
from genprior import Borrowed, Codes, PlanError, Sizes
from genprior.engine.fit import begin_fit
from genprior.testing import check_prior
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.gaussian_mixture import GaussianMixture

from .known_mixture import draw_mixture
from .two_samples import compare


@pytest.mark.parametrize(("covariance", "named"), [("full", "full"), ("diagonal", "diag")])
def test_it_has_the_likelihood_of_scikit_learn(covariance: str, named: str) -> None:
    """From the same start on the same codes; four far clusters have one optimum, whatever the start."""
    z, fresh = draw_mixture(2000, 8, 1).double(), draw_mixture(300, 8, 2).double()
    config = GaussianMixture.Config(components=4, covariance=covariance)
    prior = genprior.fit_prior(config, Codes(z, z[:, :0]))
    share = float(z.var(0, correction=0).mean()) * 1e-6
    reference = Reference(4, covariance_type=named, reg_covar=share, tol=1e-9, max_iter=2000, random_state=3)
    reference.fit(z.numpy())
    for points in (z, fresh):
        own = prior.log_prob(points, points[:, :0]).detach().numpy()
        np.testing.assert_allclose(own.mean(), reference.score(points.numpy()), atol=0.02)
    weights = np.sort(prior.logits.softmax(0).detach().numpy())
    np.testing.assert_allclose(weights, np.sort(reference.weights_), atol=2e-3)


@pytest.mark.parametrize("width", [2, 8])
def test_a_known_mixture_is_recovered(width: int) -> None:
    """The MMD of draws and fresh data is below the 99.9 % quantile of permutations: fails with probability .001."""
    z = draw_mixture(4000, width, 1)
    prior = genprior.fit_prior(GaussianMixture.Config(components=4, covariance="full"), Codes(z, z[:, :0]))
    torch.manual_seed(0)
    with torch.no_grad():
        drawn = prior.sample(torch.zeros(1000, 0))
    assert compare(drawn, draw_mixture(1000, width, 2), permutations=1000, scaled=True).quantile <= 0.999


def test_each_condition_has_the_moments_of_its_codes() -> None:
    z = draw_mixture(600, 3, 1).double()
    y = torch.arange(600) % 3
    asked = torch.nn.functional.one_hot(y, 3).double()
    prior = genprior.fit_prior(GaussianMixture.Config(components=3, covariance="full"), Codes(z, asked))
    for k in range(3):
        own = z[y == k]
        reference = torch.distributions.MultivariateNormal(own.mean(0), torch.cov(own.T, correction=0))
        points = draw_mixture(20, 3, 4).double()
        found = prior.log_prob(points, asked[k : k + 1].expand(20, -1))
        assert torch.allclose(found, reference.log_prob(points), rtol=1e-3, atol=1e-3)


def test_the_contract_holds_for_both_forms() -> None:
    check_prior(GaussianMixture.Config(components=2, covariance="diagonal"))


def test_what_cannot_be_fitted_is_refused() -> None:
    few = Codes(torch.randn(3, 2), torch.zeros(3, 0))
    with pytest.raises(PlanError, match="components = 10, and there are 3 codes to fit them to; 1 to 3 components are"):
        genprior.fit_prior(GaussianMixture.Config(), few)
    with pytest.raises(PlanError, match="needs at least 2; the number of codes is 1. Train with more images, or raise"):
        genprior.fit_prior(GaussianMixture.Config(components=1), Codes(torch.randn(1, 2), torch.zeros(1, 0)))
    asked = torch.nn.functional.one_hot(torch.tensor([0, 0, 1, 1]), 3).float()
    with pytest.raises(PlanError, match=r"needs at least 1 code of each; condition 2 \(of 0 to 2\) has 0. Train with"):
        genprior.fit_prior(GaussianMixture.Config(components=3), Codes(torch.randn(4, 2), asked))


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_it_follows_the_scale_of_the_codes(covariance: str, labels: bool, scale: float) -> None:
    """The density of scaled codes is that of the codes over scale^d, and a checkpoint keeps it."""
    z = draw_mixture(300, 3, 1).double()
    asked = torch.nn.functional.one_hot(torch.arange(300) % 2, 2).double() if labels else z[:, :0]
    config = GaussianMixture.Config(components=2, covariance=covariance)
    plain = genprior.fit_prior(config, Codes(z, asked))
    scaled = genprior.fit_prior(config, Codes(scale * z, asked))
    expected = plain.log_prob(z, asked).detach() - 3 * math.log(scale)
    found = scaled.log_prob(scale * z, asked).detach()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    again = config.make(scaled.sizes).double()
    again.load_state_dict(scaled.state_dict())
    assert torch.equal(again.log_prob(scale * z, asked), scaled.log_prob(scale * z, asked))


def test_a_mixture_that_is_trained_with_a_model_keeps_its_floor_and_its_checkpoints() -> None:
    config, sizes = GaussianMixture.Config(components=2), Sizes((1, 8, 8), 3, 0, 0)
    prior = config.make(sizes)
    assert set(prior.state_dict()) == {"means", "factors", "logits"}
    z = draw_mixture(50, 3, 1)
    fitted = genprior.fit_prior(config, Codes(z, z[:, :0]))
    fitted.load_state_dict(prior.state_dict())  # a checkpoint without the floor, which is 1e-4
    assert torch.equal(fitted.log_prob(z, z[:, :0]), prior.log_prob(z, z[:, :0]))


@pytest.mark.parametrize("label", [True, False])
def test_the_start_has_no_part_in_a_fit(label: bool) -> None:
    """With labels too, which a start from codes refuses in training."""
    z = draw_mixture(60, 3, 1)
    asked = torch.nn.functional.one_hot(torch.arange(60) % 2, 2).float() if label else z[:, :0]
    encoder = MlpEncoder.Config(hidden=(4,)).make(Sizes((1, 8, 8), 3, 2, 2, one_hot=True))
    densities = []
    for start, lent in (("spread", {}), ("codes", {"encoder": Borrowed(encoder)})):
        sizes = Sizes((1, 8, 8), 3, 2, asked.shape[1], one_hot=True)
        prior = GaussianMixture.Config(components=2, start=start).make(sizes, **lent)
        begin_fit(prior, Codes(z, asked), 0)
        densities.append(prior.log_prob(z, asked))
    assert torch.equal(*densities)
