"""The Gaussian posterior against torch.distributions, and as encoders return it."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch.distributions import Independent, Normal

from genprior.parts import DensityPosterior, PointPosterior, Sizes
from genprior_std.layers.posterior import GaussianPosterior
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.networks.residual_encoder import ResidualEncoder


def moments(n=6, d=4):
    torch.manual_seed(0)
    return torch.randn(n, d, dtype=torch.float64), torch.randn(n, d, dtype=torch.float64)


def test_log_prob_is_that_of_torch_distributions():
    mean, log_variance = moments()
    z = torch.randn(6, 4, dtype=torch.float64)
    expected = Independent(Normal(mean, log_variance.exp().sqrt()), 1).log_prob(z)
    torch.testing.assert_close(GaussianPosterior(mean, log_variance).log_prob(z), expected)


def test_log_prob_has_the_gradients_that_differences_give():
    mean, log_variance = (t[:2].requires_grad_() for t in moments())
    z = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m, v, z: GaussianPosterior(m, v).log_prob(z), (mean, log_variance, z))


def test_mean_and_log_variance_are_what_was_given():
    mean, log_variance = moments()
    posterior = GaussianPosterior(mean, log_variance)
    assert torch.equal(posterior.mean, mean)
    assert torch.equal(posterior.log_variance, log_variance)


def test_rsample_is_distributed_as_it_says():
    """Kolmogorov-Smirnov at a level of 0.001 for each of the two coordinates; the seed is fixed."""
    torch.manual_seed(1)
    mean = torch.tensor([[-2.0, 3.0]], dtype=torch.float64).expand(20_000, -1)
    log_variance = torch.tensor([[-1.0, 1.5]], dtype=torch.float64).expand(20_000, -1)
    z = GaussianPosterior(mean, log_variance).rsample()
    for j in range(2):
        normal = stats.norm(mean[0, j].item(), log_variance[0, j].div(2).exp().item())
        assert stats.kstest(z[:, j].numpy(), normal.cdf).pvalue > 0.001


def test_rsample_is_reparameterised():
    mean, log_variance = (t.requires_grad_() for t in moments())
    z = GaussianPosterior(mean, log_variance).rsample()
    to_mean, to_log_variance = torch.autograd.grad(z.sum(), (mean, log_variance))
    # z = m + exp(v / 2) e, so dz/dm = 1 and dz/dv = (z - m) / 2.
    torch.testing.assert_close(to_mean, torch.ones_like(mean))
    torch.testing.assert_close(to_log_variance, ((z - mean) / 2).detach())


def test_half_precision_is_raised_to_single():
    mean, log_variance = (t.bfloat16() for t in moments())
    posterior = GaussianPosterior(mean, log_variance)
    assert posterior.mean.dtype == posterior.rsample().dtype == torch.float32
    assert posterior.log_prob(torch.zeros(6, 4)).dtype == torch.float32


@pytest.mark.parametrize("encoder", [ResidualEncoder, MlpEncoder])
def test_encoder_gives_the_posterior_that_is_asked_for(encoder):
    sizes = Sizes(image=(1, 8, 8), code=5, known=0, asked=0)
    small = {"width": 2} if encoder is ResidualEncoder else {"hidden": (8,)}
    x, known = torch.randn(4, 1, 8, 8), torch.zeros(4, 0)
    point = encoder.Config(**small).make(sizes)(x, known)
    assert isinstance(point, PointPosterior)
    assert torch.equal(point.mean, point.rsample())
    gaussian = encoder.Config(posterior="gaussian", **small).make(sizes)(x, known)
    assert isinstance(gaussian, DensityPosterior)
    assert gaussian.mean.shape == gaussian.log_variance.shape == gaussian.rsample().shape == (4, 5)
    assert gaussian.log_prob(gaussian.rsample()).shape == (4,)
    assert not torch.equal(gaussian.rsample(), gaussian.rsample())
