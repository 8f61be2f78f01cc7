"""The conditional Gaussian against torch.distributions, its own samples, and `asked`."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from scipy import special, stats
from torch.distributions import Independent, Normal

from genprior.errors import PlanError
from genprior.parts import DensityPrior, Sizes
from genprior.testing import check_prior
from genprior_std.priors.conditional_gaussian import ConditionalGaussian


def prior_of(code=3, asked=4, hidden=(6, 5)):
    torch.manual_seed(0)
    sizes = Sizes(image=(1, 8, 8), code=code, known=0, asked=asked)
    return ConditionalGaussian.Config(hidden=hidden).make(sizes).double()


def rows(n, width, seed=1, scale=1.0):
    return scale * torch.randn(n, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def moments(prior, asked):
    """Mean and standard deviation [n, d] of the network, computed anew in numpy from its weights."""
    s = {k: v.numpy() for k, v in prior.state_dict().items()}
    h = asked.detach().numpy()
    for name in ("first", *(f"rest.{i}" for i in range(len(prior.config.hidden) - 1))):
        out = h @ s[f"layers.{name}.both.weight"].T + s[f"layers.{name}.both.bias"]
        m = out.shape[1] // 2
        h = out[:, :m] * special.expit(out[:, m:])
    out = h @ s["to_code.linear.weight"].T + s["to_code.linear.bias"]
    d = out.shape[1] // 2
    return torch.from_numpy(out[:, :d]), torch.from_numpy(out[:, d:].clip(-6, 2)).div(2).exp()


@pytest.mark.parametrize("hidden", [(6,), (6, 5), (4, 5, 6)])
@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_density_is_that_of_torch_distributions(hidden, scale):
    """A large scale brings log variances to both ends of their range."""
    prior, asked, z = prior_of(hidden=hidden), rows(50, 4, scale=scale), rows(50, 3, seed=2)
    mean, std = moments(prior, asked)
    expected = Independent(Normal(mean, std), 1).log_prob(z)
    torch.testing.assert_close(prior.log_prob(z, asked), expected)
    if scale > 1:
        assert {-3.0, 1.0} <= set(std.log().flatten().tolist())


def test_samples_are_distributed_by_the_density():
    """Kolmogorov-Smirnov at a level of 0.001 for each of two coordinates under each of two rows; the seed is fixed."""
    prior = prior_of(code=2)
    for row in rows(2, 4):
        asked = row.expand(20_000, -1)
        mean, std = moments(prior, row[None])
        torch.manual_seed(3)
        z = prior.sample(asked).detach()
        for j in range(2):
            assert stats.kstest(z[:, j].numpy(), stats.norm(mean[0, j], std[0, j]).cdf).pvalue > 0.001


@pytest.mark.parametrize("asked", [1, 5])
def test_prior_keeps_its_contract(asked):
    check_prior(ConditionalGaussian.Config(hidden=(6, 5)), asked=asked, uses_asked=asked > 1)


def test_default_has_the_sizes_of_the_hierarchical_vae():
    prior = ConditionalGaussian.Config().make(Sizes(image=(1, 28, 28), code=40, known=0, asked=40))
    # p(z1 | z2): two gated layers of 300 units, then a mean and a log variance of 40 numbers each.
    expected = 2 * (40 * 300 + 300) + 2 * (300 * 300 + 300) + 2 * (300 * 40 + 40)
    assert sum(p.numel() for p in prior.parameters()) == expected
    assert isinstance(prior, DensityPrior)


def test_gradients_reach_the_parameters_the_codes_and_what_is_asked():
    prior, asked, z = prior_of(), rows(4, 4).requires_grad_(), rows(4, 3, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(prior.log_prob, (z, asked))
    torch.manual_seed(0)
    sample = prior.sample(asked)
    gradients = torch.autograd.grad(sample.square().sum(), [*prior.parameters(), asked])
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_half_precision_is_raised_in_the_density():
    prior = prior_of().float()
    with torch.autocast("cpu", torch.bfloat16):
        asked, z = rows(8, 4).float(), rows(8, 3, seed=2).float()
        density = prior.log_prob(z, asked)
        assert prior.sample(asked).dtype == torch.float32
    assert density.dtype == torch.float32
    # bfloat16 has a relative step of 0.4%, which a few layers carry to the moments.
    torch.testing.assert_close(density, prior.log_prob(z, asked), rtol=0.1, atol=0.3)


def test_nothing_asked_is_refused_with_the_ways_out():
    with pytest.raises(PlanError) as error:
        prior_of(asked=0)
    assert str(error.value) == (
        "prior 'conditional_gaussian' needs a condition, from which it computes its mean and variance; here nothing "
        "is asked of new images. Use conditioner 'label' or 'infogan', or prior 'gaussian', which needs none"
    )


@pytest.mark.parametrize("hidden", [(), (0,), (300, -1)])
def test_hidden_layers_out_of_range_are_refused(hidden):
    with pytest.raises(ValidationError) as error:
        ConditionalGaussian.Config(hidden=hidden)
    assert {e["loc"][0] for e in error.value.errors()} == {"hidden"}
