"""Priors: densities integrate to one and agree with scipy, and samples follow their densities.

Statistical tests reject a right sampler with probability 0.1% under a random seed; their seeds are fixed.
"""

from __future__ import annotations

import math

import numpy
import pytest
import torch
from pydantic import ValidationError
from scipy import integrate, stats
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from genprior.errors import PlanError
from genprior.parts import DensityPrior, Sizes
from genprior_std.priors.categorical_gaussian import CategoricalGaussian
from genprior_std.priors.code_generator import CodeGenerator
from genprior_std.priors.gaussian import Gaussian
from genprior_std.priors.mixture import Mixture
from genprior_std.priors.swiss_roll import SwissRoll
from genprior_std.priors.uniform import Uniform

ERROR_RATE = 1e-3


def sizes(code, asked=0):
    return Sizes(image=(1, 16, 16), code=code, known=asked, asked=asked, one_hot=asked > 0)


def one_hot(k, width, n):
    asked = torch.zeros(n, width, dtype=torch.float64)
    if width:
        asked[:, k] = 1
    return asked


def grid(low, high, cells):
    """Midpoints of a square grid [cells^2, 2], and the area of a cell."""
    step = (high - low) / cells
    axis = low + step * (torch.arange(cells, dtype=torch.float64) + 0.5)
    return torch.cartesian_prod(axis, axis), step**2


def density(prior, z, k):
    asked = one_hot(k, prior.sizes.asked, len(z))
    return torch.cat([prior.log_prob(*part).exp() for part in zip(z.split(2000), asked.split(2000), strict=True)])


# Prior, what is asked, a box that holds all of its mass, and cells of it that are finer than its finest detail.
PLANE = {
    "gaussian": (Gaussian.Config(sigma=0.7).make(sizes(2)), 0, 6.0, 100),
    "gaussian, asked": (Gaussian.Config().make(sizes(2, 3)), 2, 8.0, 100),
    "uniform": (Uniform.Config(low=-0.5, high=2.0).make(sizes(2)), 0, 2.5, 100),
    "uniform, asked": (Uniform.Config().make(sizes(2, 3)), 1, 2.0, 100),
    "mixture": (Mixture.Config().make(sizes(2)), 0, 4.5, 300),
    "mixture, asked 0": (Mixture.Config().make(sizes(2, 10)), 0, 4.5, 300),
    "mixture, asked 7": (Mixture.Config().make(sizes(2, 10)), 7, 4.5, 300),
    "mixture of 3": (Mixture.Config(components=3, shift=2, radial=0.3, tangential=0.2).make(sizes(2, 3)), 2, 5.0, 200),
    "swiss_roll": (SwissRoll.Config(sigma=0.15).make(sizes(2)), 0, 4.2, 100),
    "swiss_roll, asked 0": (SwissRoll.Config(sigma=0.15).make(sizes(2, 10)), 0, 4.2, 100),
    "swiss_roll, asked 9": (SwissRoll.Config(sigma=0.15).make(sizes(2, 10)), 9, 4.2, 100),
    "swiss_roll, asked 2 of 4": (SwissRoll.Config(sigma=0.2).make(sizes(2, 4)), 2, 4.5, 100),
}


@pytest.mark.parametrize("case", PLANE)
def test_density_integrates_to_one(case):
    prior, k, box, cells = PLANE[case]
    points, area = grid(-box, box, cells)
    # The uniform cubes end on cell borders, so that the sum is exact for them too.
    assert (density(prior, points, k).sum() * area).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("config", [Gaussian.Config(sigma=5), Uniform.Config(low=2, high=5)])
def test_density_in_one_dimension_integrates_to_one(config):
    prior = config.make(sizes(1))

    def p(value):
        return prior.log_prob(torch.tensor([[value]], dtype=torch.float64), torch.zeros(1, 0)).exp().item()

    total, _ = integrate.quad(p, -50, 50, points=[2, 5], limit=200)
    assert total == pytest.approx(1, abs=1e-6)


def p_value_of_samples(prior, k, box, cells, sampled_from=None, n=20_000):
    """Chi-square test of n samples against the density's mass in the squares of a 12 by 12 grid."""
    torch.manual_seed(20)
    squares = 12
    fine = squares * math.ceil(cells / squares)
    points, area = grid(-box, box, fine)
    mass = density(prior, points, k) * area
    mass = mass.reshape(squares, fine // squares, squares, fine // squares).sum((1, 3)).flatten().numpy()
    z = prior.sample(one_hot(k if sampled_from is None else sampled_from, prior.sizes.asked, n)).numpy()
    counts = numpy.histogram2d(z[:, 0], z[:, 1], bins=squares, range=[[-box, box]] * 2)[0].flatten()
    # One more cell for what lies outside of the grid and in its rare squares.
    common = n * mass >= 5
    expected = numpy.append(n * mass[common], n * (1 - mass[common].sum()))
    observed = numpy.append(counts[common], n - counts[common].sum())
    if expected[-1] < 5:
        expected, observed = (numpy.append(v[:-2], v[-2:].sum()) for v in (expected, observed))
    return stats.chisquare(observed, expected).pvalue


@pytest.mark.parametrize("case", [case for case in PLANE if "uniform" not in case])
def test_samples_follow_the_density(case):
    prior, k, box, cells = PLANE[case]
    assert p_value_of_samples(prior, k, 0.6 * box, 3 * cells if "gaussian" in case else cells) > ERROR_RATE


def test_the_test_of_samples_sees_a_wrong_segment_and_a_wrong_spread():
    roll = SwissRoll.Config(sigma=0.15).make(sizes(2, 4))
    assert p_value_of_samples(roll, 2, 2.6, 100, sampled_from=1) < 1e-9
    wide = Gaussian.Config(sigma=1.05).make(sizes(2))
    wide.sample = Gaussian.Config(sigma=1.0).make(sizes(2)).sample
    assert p_value_of_samples(wide, 0, 4.0, 100) < ERROR_RATE


@pytest.mark.parametrize(
    ("prior", "cdf"),
    [
        (Gaussian.Config(sigma=5).make(sizes(4)), stats.norm(0, 5).cdf),
        (Uniform.Config().make(sizes(4)), stats.uniform(-1, 2).cdf),
        (Uniform.Config(low=2, high=2.5).make(sizes(4)), stats.uniform(2, 0.5).cdf),
    ],
)
def test_each_number_of_a_simple_code_follows_its_law(prior, cdf):
    torch.manual_seed(3)
    z = prior.sample(torch.zeros(2000, 0, dtype=torch.float64)).numpy()
    # Four tests, each at a quarter of the error rate.
    assert min(stats.kstest(column, cdf).pvalue for column in z.T) > ERROR_RATE / 4
    assert numpy.abs(numpy.corrcoef(z.T) - numpy.eye(4)).max() < 4.5 / math.sqrt(2000)


def test_gaussian_density_is_that_of_scipy():
    z = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = stats.multivariate_normal(numpy.zeros(3), 2.5**2 * numpy.eye(3)).logpdf(z.numpy())
    actual = Gaussian.Config(sigma=2.5).make(sizes(3)).log_prob(z, torch.zeros(50, 0))
    assert actual.numpy() == pytest.approx(expected)


def test_uniform_density_is_constant_inside_and_zero_outside():
    z = torch.tensor([[0.0, 0.5], [1.0, -1.0], [0.0, 1.01], [-2.0, 0.0]], dtype=torch.float64)
    log_p = Uniform.Config().make(sizes(2)).log_prob(z, torch.zeros(4, 0))
    assert log_p.tolist() == pytest.approx([-2 * math.log(2), -2 * math.log(2), -math.inf, -math.inf])


def mixture_by_torch(components, shift, radial, tangential):
    """The same mixture from rotation matrices and torch.distributions."""
    phi = torch.arange(components, dtype=torch.float64) * 2 * math.pi / components
    turn = torch.stack([torch.stack([phi.cos(), -phi.sin()], -1), torch.stack([phi.sin(), phi.cos()], -1)], -2)
    spread = torch.diag(torch.tensor([radial**2, tangential**2], dtype=torch.float64))
    return MultivariateNormal(shift * turn[:, :, 0], turn @ spread @ turn.mT)


def test_mixture_density_is_that_of_torch_distributions():
    numbers = {"components": 7, "shift": 1.1, "radial": 0.4, "tangential": 0.1}
    z = torch.randn(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    component = mixture_by_torch(**numbers)
    whole = MixtureSameFamily(Categorical(torch.ones(7, dtype=torch.float64)), component).log_prob(z)
    torch.testing.assert_close(Mixture.Config(**numbers).make(sizes(2)).log_prob(z, one_hot(0, 0, 200)), whole)
    k = torch.arange(200) % 7
    asked = torch.nn.functional.one_hot(k, 7).double()
    each = component.log_prob(z[:, None]).gather(1, k[:, None])[:, 0]
    torch.testing.assert_close(Mixture.Config(**numbers).make(sizes(2, 7)).log_prob(z, asked), each)


@pytest.mark.parametrize(("segments", "k"), [(0, 0), (10, 0), (10, 6)])
def test_swiss_roll_density_is_the_integral_over_u(segments, k):
    sigma = 0.05
    prior = SwissRoll.Config(sigma=sigma).make(sizes(2, segments))
    low, high = (k / segments, (k + 1) / segments) if segments else (0, 1)
    middle, end = math.sqrt((low + high) / 2), math.sqrt(high)
    for t, offset in ((middle, 0.0), (middle, 0.1), (end, 0.0), (end, -0.07), (end, 0.3)):
        point = [3 * t * math.cos(4 * math.pi * t) + offset, 3 * t * math.sin(4 * math.pi * t) - offset / 2]

        def integrand(t, point=point):
            c = (3 * t * math.cos(4 * math.pi * t), 3 * t * math.sin(4 * math.pi * t))
            squared = (point[0] - c[0]) ** 2 + (point[1] - c[1]) ** 2
            return 2 * t / (high - low) * math.exp(-squared / (2 * sigma**2)) / (2 * math.pi * sigma**2)

        cuts = numpy.linspace(math.sqrt(low), math.sqrt(high), 101)
        expected = sum(integrate.quad(integrand, a, b, epsabs=0)[0] for a, b in zip(cuts, cuts[1:], strict=False))
        z = torch.tensor([point], dtype=torch.float64)
        assert prior.log_prob(z, one_hot(k, segments, 1)).exp().item() == pytest.approx(expected, rel=1e-7)


def test_swiss_roll_samples_of_a_segment_lie_on_that_segment():
    torch.manual_seed(0)
    prior = SwissRoll.Config(sigma=0.01).make(sizes(2, 10))
    for k in (0, 3, 9):
        radius = prior.sample(one_hot(k, 10, 500)).norm(dim=1)
        # Five sigmas of noise: outside in 500 samples with probability below 0.1%.
        assert 3 * math.sqrt(k / 10) - 0.05 < radius.min()
        assert radius.max() < 3 * math.sqrt((k + 1) / 10) + 0.05


@pytest.mark.parametrize("case", [case for case in PLANE if "uniform" not in case])
def test_gradient_of_the_log_density_is_right(case):
    prior, k, _, _ = PLANE[case]
    z = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    asked = one_hot(k, prior.sizes.asked, 3)
    assert torch.autograd.gradcheck(lambda z: prior.log_prob(z, asked), z)


@pytest.mark.parametrize("case", PLANE)
def test_log_density_is_not_nan_far_away_and_keeps_the_dtype(case):
    prior, k, _, _ = PLANE[case]
    z = torch.tensor([[1e4, -1e4], [0.0, 0.0]])
    log_p = prior.log_prob(z, one_hot(k, prior.sizes.asked, 2).float())
    assert log_p.shape == (2,)
    assert log_p.dtype == torch.float32
    assert not log_p.isnan().any()
    assert log_p[0] < log_p[1] or (log_p == -math.inf).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("asked", [0, 3])
@pytest.mark.parametrize("part", [Gaussian, Uniform, CategoricalGaussian, Mixture, SwissRoll, CodeGenerator])
def test_samples_follow_asked_in_length_and_dtype(part, asked, dtype):
    settings = {"categories": 3} if part is CategoricalGaussian else {"components": 3} if part is Mixture else {}
    code = 2 if part in (Mixture, SwissRoll) else 5
    prior = part.Config(**settings).make(sizes(code, asked)).to(dtype)
    z = prior.sample(one_hot(1, asked, 6).to(dtype))
    assert z.shape == (6, code)
    assert z.dtype == dtype
    assert z.isfinite().all()
    assert len(z.unique(dim=0)) == 6
    assert isinstance(prior, DensityPrior) == (part not in (CategoricalGaussian, CodeGenerator))


def test_categorical_gaussian_puts_what_is_asked_first_and_noise_behind():
    torch.manual_seed(5)
    asked = torch.rand(1000, 3, dtype=torch.float64)
    z = CategoricalGaussian.Config().make(sizes(5, 3)).sample(asked)
    assert torch.equal(z[:, :3], asked)
    assert min(stats.kstest(column, "norm").pvalue for column in z[:, 3:].T.numpy()) > ERROR_RATE / 2


def test_categorical_gaussian_may_have_uniform_noise():
    """Kolmogorov-Smirnov against U(-1, 1); refused at random with probability 1e-4 (the seed is fixed)."""
    prior = CategoricalGaussian.Config(categories=3, noise="uniform").make(Sizes((1, 4, 4), 5, 0, 0))
    torch.manual_seed(0)
    noise = prior.sample(torch.zeros(2000, 0))[:, 3:].flatten().numpy()
    assert stats.kstest(noise, stats.uniform(-1, 2).cdf).pvalue > 1e-4


def test_categorical_gaussian_draws_categories_uniformly_where_nothing_is_asked():
    torch.manual_seed(6)
    z = CategoricalGaussian.Config(categories=4).make(sizes(6)).sample(torch.zeros(4000, 0, dtype=torch.float64))
    category = z[:, :4]
    assert torch.equal(category.sum(1), torch.ones(4000, dtype=torch.float64))
    assert set(category.unique().tolist()) == {0.0, 1.0}
    assert stats.chisquare(category.sum(0).numpy()).pvalue > ERROR_RATE
    assert stats.kstest(z[:, 4:].flatten().numpy(), "norm").pvalue > ERROR_RATE


@pytest.mark.parametrize(
    ("config", "bad", "message"),
    [
        (
            CategoricalGaussian.Config(categories=10),
            sizes(10),
            "prior 'categorical_gaussian' needs a code wider than 10 numbers, which the category takes; "
            "the code has 10. Set code_size to 11 or more, or ask for fewer categories",
        ),
        (
            CategoricalGaussian.Config(categories=2),
            sizes(8, 9),
            "prior 'categorical_gaussian' needs a code wider than 9 numbers, which what is asked takes; "
            "the code has 8. Set code_size to 10 or more, or ask for fewer categories",
        ),
        (
            Mixture.Config(),
            sizes(8),
            "prior 'mixture' lies in the plane and needs codes of 2 numbers; the code has 8. "
            "Set code_size = 2, or use a prior of any width ('gaussian', 'uniform')",
        ),
        (
            Mixture.Config(),
            sizes(2, 3),
            "prior 'mixture' has 10 components, so a condition must be a one-hot of 10; the one asked here has "
            "width 3. Set components = 3, use a prior that takes any condition ('gaussian', 'code_generator'), or "
            "ask for nothing (conditioner 'none', where the model has one)",
        ),
        (
            SwissRoll.Config(),
            sizes(3),
            "prior 'swiss_roll' lies in the plane and needs codes of 2 numbers; the code has 3. "
            "Set code_size = 2, or use a prior of any width ('gaussian', 'uniform')",
        ),
        *(
            (
                config,
                sizes(2, 10)._replace(one_hot=False),
                f"prior '{config.name}' needs a one-hot as the condition, or none; the condition here has 10 numbers "
                "and is not a one-hot: it is a sentence, several codes side by side, or another code. Use a prior that "
                "takes any condition ('code_generator', 'gaussian'), or a condition that is a one-hot (conditioner "
                "'label', or 'infogan' with one categorical code)",
            )
            for config in (Mixture.Config(), SwissRoll.Config())
        ),
    ],
)
def test_a_prior_that_does_not_fit_says_what_would(config, bad, message):
    with pytest.raises(PlanError) as caught:
        config.make(bad)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("part", "settings", "message"),
    [
        (Gaussian, {"sigma": 0}, "greater than 0"),
        (Uniform, {"low": 1, "high": 1}, "low = 1.0 is not below high = 1.0; give a low that is smaller"),
        (CategoricalGaussian, {"categories": 1}, "greater than or equal to 2"),
        (Mixture, {"tangential": -1}, "greater than 0"),
        (SwissRoll, {"sigma": 0.001}, "greater than or equal to 0.01"),
        (Gaussian, {"sigma": math.inf}, "finite"),
    ],
)
def test_settings_out_of_range_are_refused(part, settings, message):
    with pytest.raises(ValidationError, match=message):
        part.Config(**settings)
