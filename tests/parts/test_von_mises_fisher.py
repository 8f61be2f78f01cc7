"""The von Mises-Fisher posterior against scipy, numerical integrals, closed forms and finite differences.

Statistical tests compare means of samples within 5 standard errors: each refuses a right sampler with probability below
1e-6, and their seeds are fixed.
"""

from __future__ import annotations

import math

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from genprior.errors import PlanError
from genprior.parts import Sizes
from genprior.testing import check_encoder
from genprior_std.layers.bessel import bessel_ratio, log_bessel_over_power
from genprior_std.layers.posterior import POSTERIORS, log_prob_of_each, posterior_from, posterior_layer
from genprior_std.layers.von_mises_fisher import VonMisesFisher, log_sphere_area
from genprior_std.model_pieces.posterior_draws import draw_with_density
from genprior_std.networks.gated_convolutional_encoder import GatedConvolutionalEncoder
from genprior_std.networks.gated_mlp_encoder import GatedMlpEncoder
from genprior_std.networks.larsen_encoder import LarsenEncoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.networks.residual_encoder import ResidualEncoder
from genprior_std.networks.strided_encoder import StridedEncoder
from genprior_std.priors.sphere import Sphere

CASES = [(d, kappa) for d in (2, 3, 5, 20, 100) for kappa in (0.01, 1.0, 10.0, 300.0)]
FORM = "von_mises_fisher"


def direction(d, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(d, dtype=torch.float64, generator=generator), dim=0)


def posterior(d, kappa, n, seed=0):
    concentration = torch.full((n,), kappa, dtype=torch.float64, requires_grad=True)
    return VonMisesFisher(direction(d, seed).expand(n, -1), concentration)


# ---------------------------------------------------------------------------------------------------------------------
# The density
# ---------------------------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.floats(0, 600), st.floats(1e-3, 1e5))
def test_the_bessel_function_is_that_of_scipy(order, x):
    """Where scipy's neither underflows nor overflows."""
    scaled, above = special.ive(order, x), special.ive(order + 1, x)
    at = torch.tensor([x], dtype=torch.float64)
    if scaled > 1e-290:
        expected = math.log(scaled) - order * math.log(x)
        assert log_bessel_over_power(at, order).item() == pytest.approx(expected, rel=1e-10, abs=1e-8)
    if above > 1e-290:
        assert bessel_ratio(at, order).item() == pytest.approx(above / scaled, rel=1e-8)


def test_the_bessel_function_at_0_is_that_of_its_first_term():
    for order in (0.0, 0.5, 7.0, 50.0):
        expected = -order * math.log(2) - math.lgamma(order + 1)
        zero = torch.zeros(1, dtype=torch.float64)
        assert log_bessel_over_power(zero, order).item() == pytest.approx(expected, rel=1e-9, abs=1e-8)
        assert bessel_ratio(zero, order).item() == 0


@pytest.mark.parametrize("order", [0.0, 0.5, 1.0, 9.0, 40.0])
def test_the_bessel_function_has_the_gradients_of_finite_differences(order):
    x = torch.tensor([0.0, 0.01, 1.0, 20.0, 500.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: log_bessel_over_power(x, order), (x,))
    assert torch.autograd.gradgradcheck(lambda x: log_bessel_over_power(x, order), (x,))
    assert torch.autograd.gradcheck(lambda x: bessel_ratio(x, order), (x,))


@pytest.mark.parametrize(("d", "kappa"), CASES)
def test_the_density_is_that_of_scipy(d, kappa):
    q = posterior(d, kappa, 20)
    torch.manual_seed(1)
    z = torch.nn.functional.normalize(torch.randn(20, d, dtype=torch.float64) + 3 * q.mean, dim=1)
    expected = stats.vonmises_fisher(direction(d).numpy(), kappa).logpdf(z.numpy())
    torch.testing.assert_close(q.log_prob(z).detach(), torch.as_tensor(expected), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kappa", [1e-3, 0.5, 4.0, 60.0, 2000.0])
@pytest.mark.parametrize("d", [2, 3])
def test_the_density_integrates_to_1_over_the_circle_and_the_sphere(d, kappa):
    """By the angle t to the mean direction, at which lie 2 points of the circle and a circle of length 2 pi sin t."""
    mean = torch.zeros(d, dtype=torch.float64)
    mean[0] = 1

    def density(t):
        z = torch.zeros(1, d, dtype=torch.float64)
        z[0, 0], z[0, 1] = math.cos(t), math.sin(t)
        q = VonMisesFisher(mean[None], torch.tensor([kappa], dtype=torch.float64))
        return q.log_prob(z).exp().item() * (2 if d == 2 else 2 * math.pi * math.sin(t))

    end = min(math.pi, 15 / math.sqrt(kappa))
    assert integrate.quad(density, 0, end, epsabs=1e-11, limit=200)[0] == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize("d", [2, 3, 8, 64])
def test_without_concentration_it_is_the_uniform_prior(d):
    z = direction(d, 5)[None]
    uniform = Sphere.Config().make(Sizes((1, 4, 4), d, 0, 0)).log_prob(z, z[:, :0])
    torch.testing.assert_close(posterior(d, 0.0, 1).log_prob(z).detach(), uniform, rtol=1e-9, atol=1e-8)
    assert log_sphere_area(2) == pytest.approx(math.log(2 * math.pi))
    assert log_sphere_area(3) == pytest.approx(math.log(4 * math.pi))


@pytest.mark.parametrize("d", [2, 3, 10])
def test_the_density_has_the_gradients_of_finite_differences(d):
    torch.manual_seed(2)
    out, z = (torch.randn(3, w, dtype=torch.float64, requires_grad=True) for w in (d + 1, d))
    assert torch.autograd.gradcheck(lambda out, z: VonMisesFisher.from_output(out).log_prob(z), (out, z))


def test_large_concentrations_lose_no_digits_in_single_precision():
    mean = direction(16)
    q = VonMisesFisher(mean.expand(1000, -1), torch.full((1000,), 1e5, dtype=torch.float64))
    torch.manual_seed(0)
    z = q.rsample()
    single = q.map_rows(lambda rows: rows.float()).log_prob(z.float())
    torch.testing.assert_close(single.double(), q.log_prob(z), rtol=0, atol=0.02)


def test_half_precision_is_raised_to_single():
    q = VonMisesFisher.from_output(torch.randn(4, 6, dtype=torch.bfloat16))
    assert q.mean.dtype == q.concentration.dtype == q.rsample().dtype == q.log_prob(q.rsample()).dtype == torch.float32


def test_the_densities_of_every_code_under_every_image_are_those_one_by_one():
    torch.manual_seed(3)
    q = VonMisesFisher.from_output(torch.randn(4, 6, dtype=torch.float64))
    z = q.map_rows(lambda rows: rows[torch.tensor([0, 1, 2, 3, 3])]).rsample()
    each = log_prob_of_each(q, z)
    one_by_one = torch.stack([q.log_prob(code.expand(4, -1)) for code in z])
    torch.testing.assert_close(each, one_by_one, rtol=1e-9, atol=1e-9)


def test_draws_of_several_codes_have_their_own_densities():
    torch.manual_seed(4)
    q = VonMisesFisher.from_output(torch.randn(3, 5, dtype=torch.float64))
    z, log_q = draw_with_density(q, 2)
    torch.testing.assert_close(log_q, torch.cat([q.log_prob(z[:3]), q.log_prob(z[3:])]))
    assert not torch.equal(z[:3], z[3:])


# ---------------------------------------------------------------------------------------------------------------------
# Samples
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "kappa"), CASES)
def test_samples_and_their_gradient_have_the_moments_of_closed_forms(d, kappa):
    """E m . z = A and dA/dkappa = 1 - A^2 - (d - 1) A / kappa, with A of scipy's Bessel functions."""
    n = 20000
    q = posterior(d, kappa, n)
    torch.manual_seed(5)
    z = q.rsample()
    assert (z.norm(dim=1) - 1).abs().max() < 1e-12
    along = z @ direction(d)
    ratio = special.ive(d / 2, kappa) / special.ive(d / 2 - 1, kappa)
    assert q.mean_resultant_length[0].item() == pytest.approx(ratio, rel=1e-8)
    assert abs(along.mean().item() - ratio) < 5 * along.std().item() / math.sqrt(n)
    across = z @ torch.linalg.qr(torch.cat([direction(d)[:, None], torch.eye(d, dtype=torch.float64)[:, :-1]], 1)).Q
    assert (across[:, 1:].mean(0).abs() < 5 * across[:, 1:].std(0) / math.sqrt(n)).all()
    (gradient,) = torch.autograd.grad(along.sum(), q.concentration)
    slope = 1 - ratio**2 - (d - 1) * ratio / kappa
    if kappa < 300:  # beyond that the closed form is a small difference of large numbers
        assert abs(gradient.mean().item() - slope) < 5 * gradient.std().item() / math.sqrt(n)
    else:
        assert gradient.mean().item() == pytest.approx(slope, rel=0.05)


@pytest.mark.parametrize(("d", "kappa"), [(2, 0.3), (2, 20.0), (3, 2.0), (8, 5.0), (64, 100.0)])
def test_angles_of_samples_are_distributed_as_the_density_says(d, kappa):
    """A Kolmogorov-Smirnov test against the integral of the density: refused at random with probability 1e-4."""
    torch.manual_seed(6)
    along = (posterior(d, kappa, 20000).rsample() @ direction(d)).detach().numpy()
    angle = numpy.linspace(0, math.pi, 20001)
    density = numpy.exp(kappa * (numpy.cos(angle) - 1)) * numpy.sin(angle) ** (d - 2)
    below = numpy.concatenate([[0], numpy.cumsum((density[1:] + density[:-1]) / 2)])
    assert stats.kstest(numpy.arccos(along), lambda t: numpy.interp(t, angle, below / below[-1])).pvalue > 1e-4


def test_the_gradient_of_the_mean_direction_is_that_of_the_mean():
    """E z = A m, so the gradient of E a . z in u, m = u / |u|, is A times the part of a orthogonal to m, over |u|."""
    n, d = 40000, 4
    torch.manual_seed(7)
    u = torch.randn(d, dtype=torch.float64)
    a = torch.randn(d, dtype=torch.float64)
    out = torch.cat([u, torch.tensor([1.0])]).expand(n, -1).clone().requires_grad_()
    q = VonMisesFisher.from_output(out)
    (gradient,) = torch.autograd.grad((q.rsample() @ a).sum(), out)
    m = u / u.norm()
    expected = q.mean_resultant_length[0].detach() * (a - (a @ m) * m) / u.norm()
    error = gradient[:, :d].std(0) / math.sqrt(n)
    assert ((gradient[:, :d].mean(0) - expected).abs() < 5 * error + 1e-12).all()


@pytest.mark.parametrize("first", [-1.0, 1.0])
def test_a_mean_direction_along_the_first_axis_is_no_special_case(first):
    out = torch.tensor([[first, 0.0, 0.0, 50.0]], dtype=torch.float64, requires_grad=True)
    torch.manual_seed(8)
    z = VonMisesFisher.from_output(out).rsample()
    assert z[0, 0] * first > 0.5
    z.sum().backward()
    assert torch.isfinite(out.grad).all()


@pytest.mark.parametrize("kappa", [0.0, 1e-6, 1e6])
@pytest.mark.parametrize("d", [2, 3, 50])
def test_extreme_concentrations_give_finite_samples_densities_and_gradients(d, kappa):
    mean = torch.nn.functional.normalize(torch.ones(5000, d), dim=1)
    concentration = torch.full((5000,), kappa, requires_grad=True)
    torch.manual_seed(9)
    q = VonMisesFisher(mean, concentration)
    z = q.rsample()
    log_q = q.log_prob(z)
    (z[:, 0].sum() + log_q.sum()).backward()
    assert all(torch.isfinite(t).all() for t in (z, log_q, concentration.grad))


def test_no_samples_are_possible():
    assert VonMisesFisher.from_output(torch.zeros(0, 4)).rsample().shape == (0, 3)


# ---------------------------------------------------------------------------------------------------------------------
# Encoders
# ---------------------------------------------------------------------------------------------------------------------

SMALL = {
    MlpEncoder: {"hidden": (8,), "init": "glorot"},
    ResidualEncoder: {"width": 2},
    StridedEncoder: {"widths": (4,)},
    LarsenEncoder: {"width": 2, "hidden": 8},
    GatedMlpEncoder: {"hidden": (8,)},
    GatedConvolutionalEncoder: {"width": 2, "hidden": 8},
}


@pytest.mark.parametrize("encoder", SMALL, ids=[encoder.name for encoder in SMALL])
def test_every_encoder_that_has_a_posterior_has_this_one(encoder):
    config = encoder.Config(posterior=FORM, **SMALL[encoder])
    assert encoder.posterior_of(config) is POSTERIORS[FORM] is VonMisesFisher
    made = config.make(Sizes((1, 16, 16), 5, 0, 0))
    q = made(torch.rand(4, 1, 16, 16) * 2 - 1, torch.zeros(4, 0))
    assert isinstance(q, VonMisesFisher) and q.support == "unit_sphere"
    assert q.mean.shape == q.rsample().shape == (4, 5) and (q.concentration >= 1).all()


@pytest.mark.parametrize("code", [2, 3, 4])
def test_an_encoder_with_this_posterior_keeps_the_contract(code):
    check_encoder(MlpEncoder.Config(hidden=(8,), posterior=FORM), code=code)


def test_its_output_is_a_direction_and_a_concentration():
    assert posterior_layer(FORM, 3, 5).out_features == 6
    out = torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, -100.0]])
    q = posterior_from(FORM, out)
    torch.testing.assert_close(q.mean, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    torch.testing.assert_close(q.concentration, torch.tensor([1 + math.log(2), 1.0]))


def test_a_code_of_one_number_is_refused():
    with pytest.raises(PlanError) as caught:
        MlpEncoder.Config(posterior=FORM).make(Sizes((1, 16, 16), 1, 0, 0))
    assert str(caught.value) == (
        'posterior = "von_mises_fisher" gives codes on the unit sphere, and that of code_size = 1 is two points. Set '
        'code_size to 2 or more, or posterior = "gaussian"'
    )


@pytest.mark.parametrize("encoder", [MlpEncoder, StridedEncoder])
def test_its_concentrations_are_not_normalised_over_a_batch(encoder):
    with pytest.raises(PlanError, match="whose concentrations should not depend on the other images of a batch"):
        encoder.Config(posterior=FORM, normalise_code=True).make(Sizes((1, 16, 16), 3, 0, 0))
