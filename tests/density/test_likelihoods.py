"""-log p(x | z): the discretised logistic and the learned spreads against decimals of 50 digits, scipy and optima."""

from __future__ import annotations

import decimal
import math

import numpy
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import optimize, stats
from torch.distributions import Normal

from genprior.parts import Sizes
from genprior.testing import check_reconstruction
from genprior_std.layers.logistic import FLOOR
from genprior_std.layers.spread import Spread
from genprior_std.reconstruction.discretised_logistic import DiscretisedLogistic
from genprior_std.reconstruction.pixel import Pixel

BYTES = torch.arange(256, dtype=torch.float64) * 2 / 255 - 1
FORMS = {"shared": 1, "channel": 2, "pixel": 8}
IMAGE = (2, 2, 2)


def sizes(*image):
    return Sizes(image=image, code=8, known=0, asked=0)


def logistic(image=(1, 1, 1), dtype=torch.float64, **given):
    return DiscretisedLogistic.Config(**given).make(sizes(*image)).to(dtype)


def gaussian(image=IMAGE, **given):
    given = {"metric": "gaussian", "reduction": "sum"} | given
    return Pixel.Config(**given).make(sizes(*image)).double()


def nothing(n):
    return torch.zeros(n, 0, dtype=torch.float64)


def of_bytes(part, mean, x=BYTES):
    """The error of each number in x as an image of one pixel, under one mean."""
    x = x.reshape(-1, 1, 1, 1)
    return part(x, torch.as_tensor(mean, dtype=x.dtype).expand_as(x), nothing(len(x)))


def exact(k, mean, scale):
    """-log P of byte k to 50 digits, by the definition, from whichever tail is the thinner."""
    with decimal.localcontext(prec=50) as context:
        context.Emin, context.Emax = decimal.MIN_EMIN, decimal.MAX_EMAX
        m, s = decimal.Decimal(float(mean)), decimal.Decimal(float(scale))
        a, b = (decimal.Decimal(2 * k + side) / 255 - 1 - m for side in (1, -1))
        sign = 1 if k < 255 and (k == 0 or a + b < 0) else -1  # of the tail
        ends = [1 / (1 + (-sign * edge / s).exp()) for edge in (a, b)]
        if k == 0:
            return float(-ends[0].ln())
        return float(-(ends[1] if k == 255 else abs(ends[0] - ends[1])).ln())


# ---------------------------------------------------------------------------------------------------------------------
# The discretised logistic
# ---------------------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, derandomize=True)
@given(mean=st.floats(-1.5, 1.5), log_scale=st.floats(math.log(1.001 * FLOOR), math.log(1e3)))
@example(mean=1.0, log_scale=math.log(1.001 * FLOOR))
@example(mean=-1.0, log_scale=math.log(1.001 * FLOOR))
@example(mean=1 / 255, log_scale=math.log(2e-4))
@example(mean=-1.0, log_scale=math.log(1e3))
def test_the_256_probabilities_add_up_to_one(mean, log_scale):
    error = of_bytes(logistic(scale=math.exp(log_scale), learned="fixed"), mean)
    assert (error >= 0).all()
    assert float((-error).exp().sum()) == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("mean", [-1.0, -0.3, 0.0, 0.77, 1.0])
@pytest.mark.parametrize("scale", [0.02, 0.1, 1.0])
def test_it_is_the_difference_of_scipys_distribution_functions(mean, scale):
    law = stats.logistic(mean, scale)
    edges = numpy.concatenate([[-numpy.inf], (numpy.arange(255) * 2 + 1) / 255 - 1, [numpy.inf]])
    expected = numpy.where(edges[1:] <= mean, numpy.diff(law.cdf(edges)), -numpy.diff(law.sf(edges)))
    got = (-of_bytes(logistic(scale=scale, learned="fixed"), mean)).exp().numpy()
    numpy.testing.assert_allclose(got, expected, rtol=1e-9)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-10), (torch.float32, 2e-5)])
@pytest.mark.parametrize("mean", [-1.0, -0.998046875, 0.0, 0.625, 1.0])
@pytest.mark.parametrize("scale", [2.0**-13, 2.0**-7, 2.0**-3, 1.0, 2.0**10])
def test_it_is_exact_however_far_the_mean_is_off(dtype, rtol, mean, scale):
    """Means and scales are binary fractions, so that single precision has them too.

    A byte that single precision has not is off by u = 2^-25 at most (1e-16 in double precision), and -log P by u / s.
    """
    unit = torch.finfo(dtype).eps / 4
    which = [0, 1, 2, 64, 127, 128, 200, 253, 254, 255]
    part = logistic(scale=scale, learned="fixed", dtype=dtype)
    got = of_bytes(part, mean, BYTES[which].to(dtype))
    assert got.dtype == dtype
    expected = [exact(k, mean, scale) for k in which]
    numpy.testing.assert_allclose(got.double().numpy(), expected, rtol=rtol, atol=4 * unit / scale + 4 * unit)


def test_a_mean_on_the_edge_of_two_bytes_costs_one_bit_a_dimension():
    part, image = logistic((3, 5, 5), scale=1.01e-4, learned="fixed"), (2, 3, 5, 5)
    x = BYTES[100].expand(image)
    nats = part(x, x + 1 / 255, nothing(2))
    torch.testing.assert_close(nats / (75 * math.log(2)), torch.ones(2, dtype=torch.float64), rtol=1e-9, atol=0)
    mean = logistic((3, 5, 5), scale=1.01e-4, learned="fixed", reduction="mean")
    torch.testing.assert_close(mean(x, x + 1 / 255, nothing(2)), nats / 75)


@pytest.mark.parametrize("scale", [0.01, 0.3])
def test_its_expectation_is_the_entropy_of_its_probabilities(scale):
    law = stats.logistic(0.2, scale)
    inner = law.cdf((numpy.arange(255) * 2 + 1) / 255 - 1)
    probabilities = numpy.diff(numpy.concatenate([[0], inner, [1]]))
    error = of_bytes(logistic(scale=scale, learned="fixed"), 0.2)
    bits = float((torch.from_numpy(probabilities) * error).sum()) / math.log(2)
    assert bits == pytest.approx(stats.entropy(probabilities, base=2), rel=1e-9)


@pytest.mark.parametrize("learned", [*FORMS, "fixed"])
@pytest.mark.parametrize("scale", [0.004, 0.1, 3.0])
def test_its_gradients_are_those_of_finite_differences(learned, scale):
    part = logistic(IMAGE, scale=scale, learned=learned)
    generator = torch.Generator().manual_seed(0)
    x = BYTES[torch.randint(256, (3, *IMAGE), generator=generator)]
    x[0, 0], x[0, 1] = -1, 1
    x_rec = (0.9 * x + 0.02 * torch.randn(x.shape, generator=generator, dtype=torch.float64)).requires_grad_()
    moved = (x_rec, *part.parameters())
    assert torch.autograd.gradcheck(lambda *moved: part(x, moved[0], nothing(3)), moved)
    assert torch.autograd.gradgradcheck(lambda *moved: part(x, moved[0], nothing(3)), moved)


@pytest.mark.parametrize("scale", [1.001e-4, 0.1, 1e6])
def test_values_and_gradients_are_finite_at_extremes_in_single_precision(scale):
    part = logistic((1, 1, 256), torch.float32, scale=scale)
    x = BYTES.float().reshape(1, 1, 1, 256).expand(7, -1, -1, -1)
    x_rec = torch.tensor([-100, -1, -1 + 1e-7, 0, 1 - 1e-7, 1, 100]).reshape(7, 1, 1, 1).repeat(1, 1, 1, 256)
    error = part(x, x_rec.requires_grad_(), torch.zeros(7, 0))
    gradients = torch.autograd.grad(error.sum(), [x_rec, *part.parameters()])
    assert error.isfinite().all() and all(g.isfinite().all() for g in gradients)
    # A mean beyond a byte is drawn back to it; by 1 / s each where it is many scales off.
    assert (gradients[0][0, ..., 1:] < 0).all() and (gradients[0][-1, ..., :-1] > 0).all()
    if scale < 1:
        torch.testing.assert_close(gradients[0][-1, ..., :-1], torch.full((1, 1, 255), 1 / scale), rtol=1e-3, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_means_are_judged_in_single_precision(dtype):
    part = logistic((1, 1, 1), torch.float32, learned="fixed")
    x = BYTES.float().reshape(-1, 1, 1, 1)
    error = part(x, torch.full_like(x, 0.5).to(dtype), torch.zeros(256, 0))
    assert error.dtype == torch.float32
    torch.testing.assert_close(error.double(), of_bytes(logistic(learned="fixed"), 0.5), rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# Learned spreads
# ---------------------------------------------------------------------------------------------------------------------


def shared_by(form, t):
    """What shares one spread, as rows: [1, n c h w], [c, n h w] or [c h w, n]."""
    rows = {"shared": t.reshape(1, -1), "channel": t.transpose(0, 1).flatten(1), "pixel": t.flatten(1).T}
    return rows[form]


def descend(part, x, x_rec):
    """Minimise the error over the part's own parameters, to many digits."""
    optimiser = torch.optim.LBFGS(
        part.parameters(), max_iter=300, line_search_fn="strong_wolfe", tolerance_change=1e-14
    )

    def closure():
        optimiser.zero_grad()
        loss = part(x, x_rec, nothing(len(x))).mean()
        loss.backward()
        return loss

    optimiser.step(closure)


def images(n, spread, seed=0):
    """Images of bytes, and reconstructions whose errors grow over the pixels."""
    generator = torch.Generator().manual_seed(seed)
    u = torch.rand(n, *IMAGE, generator=generator, dtype=torch.float64)
    x_rec = 0.4 * (2 * torch.rand(n, *IMAGE, generator=generator, dtype=torch.float64) - 1)
    growing = torch.linspace(0.5, 2, 8, dtype=torch.float64).reshape(IMAGE)
    x = x_rec + spread * growing * u.logit()
    return ((x.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1, x_rec


@pytest.mark.parametrize("start", [0.02, 0.5, 5.0])
@pytest.mark.parametrize(("form", "count"), FORMS.items())
def test_the_best_sigma_is_the_root_mean_square_of_the_residuals(form, count, start):
    x, x_rec = images(300, 0.05)
    part = gaussian(variance=form, sigma=start)
    assert sum(p.numel() for p in part.parameters()) == count
    descend(part, x, x_rec)
    expected = shared_by(form, x - x_rec).square().mean(1).sqrt()
    sigma = part._sigma.log(x).exp()
    torch.testing.assert_close(sigma.flatten(), expected, rtol=1e-5, atol=0)
    residuals = Normal(x_rec, expected.reshape(sigma.shape).expand(IMAGE))
    torch.testing.assert_close(
        part(x, x_rec, nothing(300)), -residuals.log_prob(x).flatten(1).sum(1), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize(("form", "count"), FORMS.items())
def test_the_best_scale_is_that_of_scipys_likelihood(form, count):
    x, x_rec = images(300, 0.02)
    part = logistic(IMAGE, learned=form)
    assert sum(p.numel() for p in part.parameters()) == count
    descend(part, x, x_rec)

    def error(log_scale, x, x_rec):
        law = stats.logistic(x_rec, numpy.exp(log_scale))
        upper = numpy.where(x > 1 - 1 / 255, 1, law.cdf(x + 1 / 255))
        lower = numpy.where(x < 1 / 255 - 1, 0, law.cdf(x - 1 / 255))
        return -numpy.log(upper - lower).mean()

    pairs = zip(shared_by(form, x).numpy(), shared_by(form, x_rec).numpy(), strict=True)
    best = [optimize.minimize_scalar(error, bounds=(-6, 0), method="bounded", args=pair).x for pair in pairs]
    scale = part._scale.log(x).detach().flatten()
    numpy.testing.assert_allclose(scale.numpy(), best, atol=1e-3)
    # Growing errors are told apart: the scale in front is a quarter of that at the end.
    if form == "pixel":
        assert 0.15 < float((scale[0] - scale[-1]).exp()) < 0.4


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("start", [1.0001e-3, 0.05, 1.0, 80.0])
def test_a_spread_begins_where_it_is_told_and_stays_above_its_floor(form, start):
    spread = Spread(form, start, 1e-3, IMAGE).double()
    like = torch.zeros(2, *IMAGE, dtype=torch.float64)
    log = spread.log(like)
    assert torch.broadcast_shapes(log.shape, IMAGE) == IMAGE
    torch.testing.assert_close(log, torch.full_like(log, math.log(start)), rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        spread.raw.fill_(-20)
    log = spread.log(like)
    assert (log >= math.log(1e-3)).all()
    assert (torch.autograd.grad(log.sum(), spread.raw)[0] > 0).all()


@pytest.mark.parametrize("make", [lambda: gaussian(variance="pixel"), lambda: logistic(IMAGE, learned="pixel")])
def test_pixels_that_are_always_right_leave_the_error_finite(make):
    part = make().float()
    x = torch.full((4, *IMAGE), -1.0)
    optimiser = torch.optim.Adam(part.parameters(), lr=1.0)
    for _ in range(100):
        optimiser.zero_grad()
        part(x, x, torch.zeros(4, 0)).mean().backward()
        optimiser.step()
    for x_rec in (x, -x):
        error = part(x, x_rec, torch.zeros(4, 0))
        (gradient,) = torch.autograd.grad(error.sum(), part.parameters())
        assert error.isfinite().all() and gradient.isfinite().all()


def test_a_learned_sigma_gets_the_gradient_of_finite_differences():
    x, x_rec = images(3, 0.05)
    for form in FORMS:
        part = gaussian(variance=form, sigma=0.2)
        moved = (x_rec.clone().requires_grad_(), *part.parameters())
        assert torch.autograd.gradcheck(lambda *moved, part=part: part(x, moved[0], nothing(3)), moved)


@pytest.mark.parametrize("form", ["fixed", *FORMS])
@pytest.mark.parametrize("image", [(1, 8, 8), (3, 4, 4)])
def test_the_contract(form, image):
    check_reconstruction(DiscretisedLogistic.Config(learned=form), image=image, known=2)
    check_reconstruction(Pixel.Config(metric="gaussian", sigma=0.3, variance=form), image=image, known=2)


def test_what_is_fixed_has_no_state():
    assert dict(gaussian().state_dict()) == {}
    assert dict(logistic(learned="fixed").state_dict()) == {}
    assert logistic().config.reduction == "sum"


# ---------------------------------------------------------------------------------------------------------------------
# Bernoulli
# ---------------------------------------------------------------------------------------------------------------------


def probable(dtype):
    """Reconstructions whose p and 1 - p go down to the clamp, and each with a black, a white and a grey target."""
    less = torch.logspace(-5.99, math.log10(0.5), 400, dtype=torch.float64)
    x_rec = torch.cat([2 * less - 1, 1 - 2 * less]).to(dtype)
    inside = 1 - x_rec.double().abs() >= 2e-6
    x_rec = x_rec[inside]
    targets = torch.tensor([-1, 1, 2 * 77 / 255 - 1]).to(dtype)
    return targets.repeat_interleave(len(x_rec)).reshape(-1, 1, 1, 1), x_rec.repeat(3).reshape(-1, 1, 1, 1)


def digits_of(x, x_rec):
    """-t log p - (1 - t) log(1 - p) and its slope in x_rec to 50 digits of the very numbers given."""
    errors, slopes = [], []
    with decimal.localcontext(prec=50):
        for target, rec in zip(x.flatten().tolist(), x_rec.flatten().tolist(), strict=True):
            t, p = ((decimal.Decimal(each) + 1) / 2 for each in (target, rec))
            errors.append(float(-t * p.ln() - (1 - t) * (1 - p).ln()))
            slopes.append(float((p - t) / (2 * p * (1 - p))))
    return errors, slopes


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_bernoulli_is_exact_to_rounding_for_rare_and_for_certain_pixels(dtype, rtol):
    x, x_rec = probable(dtype)
    part = Pixel.Config(metric="bernoulli", reduction="sum").make(sizes(1, 1, 1))
    error = part(x, x_rec.requires_grad_(), nothing(len(x)))
    (slope,) = torch.autograd.grad(error.sum(), x_rec)
    errors, slopes = digits_of(x, x_rec)
    numpy.testing.assert_allclose(error.detach().double().numpy(), errors, rtol=rtol)
    numpy.testing.assert_allclose(slope.flatten().double().numpy(), slopes, rtol=rtol)


def test_settings_out_of_range_are_refused():
    for wrong in ({"learned": "image"}, {"reduction": "max"}, {"scale": FLOOR}, {"scale": math.inf}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            DiscretisedLogistic.Config(**wrong)
