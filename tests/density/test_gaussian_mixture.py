"""The learned mixture of Gaussians against torch's, scikit-learn's, and clusters that are known."""

from __future__ import annotations

import math

import numpy
import pytest
import torch
from sklearn import mixture
from torch import nn
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from genprior.errors import PlanError
from genprior.parts import Batch, Borrowed, PointPosterior, Sizes
from genprior.testing import check_prior
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.gaussian_mixture import GaussianMixture

FORMS = ["diagonal", "full"]


def sizes(code, asked=0, known=None, one_hot=True):
    return Sizes((1, 4, 4), code, asked if known is None else known, asked, one_hot=one_hot and asked > 0)


def nothing(n):
    return torch.zeros(n, 0, dtype=torch.float64)


def random_prior(covariance, components=4, code=3, asked=0, seed=0):
    """A prior with random parameters, in float64, and torch's components."""
    torch.manual_seed(seed)
    prior = GaussianMixture.Config(components=components, covariance=covariance).make(sizes(code, asked)).double()
    weights = torch.rand(components, dtype=torch.float64).softmax(0)
    means = 2 * torch.randn(components, code, dtype=torch.float64)
    a = torch.randn(components, code, code, dtype=torch.float64)
    covariances = a @ a.mT + 0.1 * torch.eye(code)
    if covariance == "diagonal":
        covariances = torch.diag_embed(covariances.diagonal(dim1=1, dim2=2))
    given = covariances.diagonal(dim1=1, dim2=2) if covariance == "diagonal" else covariances
    prior.set_mixture(weights, means, given)
    return prior, weights, MultivariateNormal(means, covariances)


@pytest.mark.parametrize("covariance", FORMS)
@pytest.mark.parametrize("code", [1, 2, 7])
def test_the_density_is_that_of_torch(covariance, code):
    prior, weights, components = random_prior(covariance, code=code)
    z = 3 * torch.randn(40, code, dtype=torch.float64)
    expected = MixtureSameFamily(Categorical(weights), components).log_prob(z)
    torch.testing.assert_close(prior.log_prob(z, nothing(40)), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("covariance", FORMS)
def test_the_density_with_a_condition_is_that_of_its_component(covariance):
    prior, _, components = random_prior(covariance, asked=4)
    k = torch.arange(12) % 4
    z = torch.randn(12, 3, dtype=torch.float64)
    expected = components.log_prob(z[:, None])[torch.arange(12), k]
    asked = nn.functional.one_hot(k, 4).double()
    torch.testing.assert_close(prior.log_prob(z, asked), expected, rtol=1e-9, atol=1e-9)
    assert "logits" not in dict(prior.named_parameters())


@pytest.mark.parametrize("covariance", FORMS)
def test_samples_of_a_condition_have_the_moments_of_its_component(covariance):
    """Means and second moments of 40,000 samples within 5 standard errors: refused at random below 1e-4."""
    prior, _, components = random_prior(covariance, asked=4)
    n = 40000
    asked = nn.functional.one_hot(torch.tensor(2), 4).double().expand(n, -1)
    z = prior.sample(asked).detach()
    error = components.variance[2].sqrt() / math.sqrt(n)
    assert ((z.mean(0) - components.mean[2]).abs() < 5 * error).all()
    white = torch.linalg.solve(torch.linalg.cholesky(components.covariance_matrix[2]), (z - components.mean[2]).T)
    assert (torch.cov(white) - torch.eye(3)).abs().max() < 5 * math.sqrt(2 / n)


def test_components_are_drawn_by_their_weights():
    """Shares of 10,000 draws within 5 standard errors: refused at random below 1e-5."""
    prior = GaussianMixture.Config(components=3).make(sizes(1))
    weights = torch.tensor([0.6, 0.3, 0.1])
    prior.set_mixture(weights, torch.tensor([[0.0], [10.0], [20.0]]), torch.full((3, 1), 0.01))
    torch.manual_seed(0)
    k = (prior.sample(torch.zeros(10000, 0)) / 10).round().long()
    shares = torch.bincount(k[:, 0], minlength=3) / 10000
    assert ((shares - weights).abs() < 5 * (weights * (1 - weights) / 10000).sqrt()).all()


@pytest.mark.parametrize("covariance", FORMS)
def test_samples_move_means_and_factors_and_pass_no_gradient_to_the_weights(covariance):
    prior, *_ = random_prior(covariance)
    prior.sample(nothing(50)).square().sum().backward()
    assert prior.logits.grad is None
    assert (prior.means.grad != 0).any() and (prior.factors.grad != 0).any()
    prior.log_prob(torch.randn(5, 3, dtype=torch.float64), nothing(5)).sum().backward()
    assert (prior.logits.grad != 0).all()


@pytest.mark.parametrize(("covariance", "of_sklearn"), [("diagonal", "diag"), ("full", "full")])
def test_parameters_of_scikit_learn_have_its_likelihood(covariance, of_sklearn):
    z = numpy.random.default_rng(0).normal(size=(300, 3)) @ numpy.diag([1.0, 0.2, 3.0])
    fitted = mixture.GaussianMixture(5, covariance_type=of_sklearn, random_state=0).fit(z)
    prior = GaussianMixture.Config(components=5, covariance=covariance).make(sizes(3)).double()
    prior.set_mixture(*(torch.as_tensor(a) for a in (fitted.weights_, fitted.means_, fitted.covariances_)))
    log_p = prior.log_prob(torch.as_tensor(z), nothing(300))
    numpy.testing.assert_allclose(log_p.detach(), fitted.score_samples(z), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        ({"weights": torch.ones(2)}, r"weights \[2\]; \[3\] are needed"),
        ({"means": torch.ones(3, 5)}, r"means \[3, 5\]; \[3, 2\] are needed"),
        ({"covariances": torch.ones(3, 2)}, r"3 components, full cov.* \[3, 2\]; \[3, 2, 2\] are needed"),
        ({"covariances": -torch.eye(2).expand(3, 2, 2)}, "not positive definite. Add a small number"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_and_change_nothing(given, needed):
    prior = GaussianMixture.Config(components=3, covariance="full").make(sizes(2))
    before = {key: value.clone() for key, value in prior.state_dict().items()}
    right = {"weights": torch.ones(3) / 3, "means": torch.zeros(3, 2), "covariances": torch.eye(2).expand(3, 2, 2)}
    with pytest.raises(PlanError, match=needed):
        prior.set_mixture(**{**right, **given})
    assert all(torch.equal(before[key], value) for key, value in prior.state_dict().items())


def test_a_negative_variance_is_refused():
    prior = GaussianMixture.Config(components=1).make(sizes(1))
    with pytest.raises(PlanError, match="not positive definite"):
        prior.set_mixture(torch.ones(1), torch.zeros(1, 1), -torch.ones(1, 1))


# ---------------------------------------------------------------------------------------------------------------------
# The start
# ---------------------------------------------------------------------------------------------------------------------


class FirstPixels(nn.Module):
    """The code is the first two pixels, with batch normalisation that must not remember anything."""

    name = "first_pixels"
    config = None

    def __init__(self, sees=False):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.sees = sees

    def sees_known(self, config):
        return self.sees

    def forward(self, x, known):
        self.norm(x.flatten(1)[:, :2])
        return PointPosterior(x.flatten(1)[:, :2])


CENTRES = torch.tensor([[-0.8, -0.8], [0.8, -0.5], [0.0, 0.8]])
SHARES = torch.tensor([0.5, 0.3, 0.2])


def draw(available):
    """Training images of three clusters, of which so many are there."""

    def of(n):
        if n > available:
            raise PlanError(f"{n} different training images are needed, but the data set has {available}")
        k = torch.multinomial(SHARES, n, replacement=True)
        x = torch.zeros(n, 1, 4, 4)
        x.flatten(1)[:, :2] = CENTRES[k] + torch.randn(n, 2) * torch.tensor([0.05, 0.1])
        return Batch(x, k, torch.zeros(n, dtype=torch.int64))

    return of


@pytest.mark.parametrize("covariance", FORMS)
def test_it_starts_from_clusters_of_codes(covariance):
    encoder = FirstPixels()
    prior = GaussianMixture.Config(components=3, covariance=covariance, start="codes").make(
        sizes(2), encoder=Borrowed(encoder)
    )
    torch.manual_seed(0)
    prior.begin(draw(10000))
    assert "encoder" not in prior.state_dict() and encoder.norm.num_batches_tracked == 0
    order = torch.cdist(CENTRES, prior.means).argmin(1)
    assert sorted(order.tolist()) == [0, 1, 2]
    torch.testing.assert_close(prior.means[order], CENTRES, rtol=0, atol=0.06)
    torch.testing.assert_close(prior.logits.softmax(0)[order], SHARES, rtol=0, atol=0.15)
    prior.double()
    z = draw(1000)(1000).x.flatten(1)[:, :2].double()
    truth = MixtureSameFamily(
        Categorical(SHARES), MultivariateNormal(CENTRES, torch.diag(torch.tensor([0.05, 0.1]) ** 2))
    )
    assert prior.log_prob(z, nothing(1000)).mean() > truth.log_prob(z.float()).mean() - 0.3


def test_it_starts_from_as_many_images_as_there_are():
    prior = GaussianMixture.Config(components=8, start="codes").make(sizes(2), encoder=Borrowed(FirstPixels()))
    prior.begin(draw(9))
    assert torch.isfinite(prior.log_prob(torch.randn(4, 2), torch.zeros(4, 0))).all()


def test_the_default_start_borrows_nothing_and_needs_no_images():
    assert GaussianMixture.borrows_of(GaussianMixture.Config()) == ()
    assert GaussianMixture.borrows_of(GaussianMixture.Config(start="codes")) == ("encoder",)
    torch.manual_seed(0)
    prior = GaussianMixture.Config(components=4000, spread=3.0).make(sizes(2))
    prior.begin(lambda n: pytest.fail("no images were needed"))
    assert prior.means.std().item() == pytest.approx(3.0, rel=0.06)  # five standard errors
    # So many components cover a Gaussian of that spread.
    log_p = prior.log_prob(torch.zeros(1, 2), torch.zeros(1, 0)).item()
    assert log_p == pytest.approx(-math.log(2 * math.pi * 9), abs=1.0)


def test_more_components_than_images_are_refused():
    prior = GaussianMixture.Config(components=30, start="codes").make(sizes(2), encoder=Borrowed(FirstPixels()))
    with pytest.raises(PlanError) as caught:
        prior.begin(draw(20))
    assert str(caught.value) == (
        "prior 'gaussian_mixture' has components = 30 and start = \"codes\", so it needs codes of as many different "
        "training images: 30 different training images are needed, but the data set has 20. Set components to fewer, "
        'or start = "spread"'
    )


@pytest.mark.parametrize(
    ("asked", "known", "text"),
    [
        (3, 3, "its components belong to the conditions of new images, and clusters of codes belong to none"),
        (0, 2, "encoder 'first_pixels' encodes an image with its condition, and the start has images alone"),
    ],
)
def test_a_start_from_codes_that_would_need_a_condition_is_refused(asked, known, text):
    prior = GaussianMixture.Config(components=3, start="codes").make(
        sizes(2, asked, known), encoder=Borrowed(FirstPixels(sees=True))
    )
    with pytest.raises(PlanError) as caught:
        prior.begin(draw(20))
    assert str(caught.value) == (
        f"prior 'gaussian_mixture' has start = \"codes\", and {text}. Set start = \"spread\", or use conditioner 'none'"
    )


def test_a_condition_of_another_width_and_one_that_is_no_one_hot_are_refused():
    with pytest.raises(PlanError, match=r"has 10 components, so a condition must be a one-hot of 10; .* width 3\. Set"):
        GaussianMixture.Config().make(sizes(2, 3))
    with pytest.raises(PlanError, match="needs a one-hot as the condition"):
        GaussianMixture.Config(components=3).make(sizes(2, 3, one_hot=False))


@pytest.mark.parametrize("settings", [{"covariance": "full"}, {"start": "codes"}])
def test_other_settings_keep_the_contract(settings):
    check_prior(GaussianMixture.Config(components=3, spread=1.5, **settings), code=2)


def test_an_encoder_with_a_posterior_gives_codes_of_it():
    torch.manual_seed(0)
    encoder = MlpEncoder.Config(hidden=(8,), posterior="gaussian").make(sizes(2))
    prior = GaussianMixture.Config(components=2, start="codes").make(sizes(2), encoder=Borrowed(encoder))
    before = prior.means.detach().clone()
    prior.begin(draw(200))
    assert not torch.equal(prior.means, before)
