"""The conditional gated PixelCNN: its receptive field and its likelihood."""

from __future__ import annotations

import itertools
import math
import re

import numpy
import pytest
import torch
from pydantic import ValidationError
from scipy import special, stats
from torch.nn import functional as F

from genprior.errors import PlanError
from genprior.parts import AutoregressiveDecoder, Sizes
from genprior.testing import check_decoder
from genprior_std.layers.masked import AboveConvolution, GatedLayer, LeftConvolution
from genprior_std.layers.pixel_distributions import distribution_of
from genprior_std.networks.pixelcnn_decoder import PixelCnnDecoder

CODES = ["invariant", "dependent"]
FORMS = ["bernoulli", "softmax", "discretised_logistic"]
BYTES = torch.arange(256, dtype=torch.float64) / 127.5 - 1


def small(image=(1, 4, 8), d=3, known=0, seed=0, **settings):
    """A small PixelCNN in float64 whose weights are large enough that pixels depend strongly on each other."""
    settings = {"width": 6, "head_width": 6, "blocks": 1, "first_kernel": 3, **settings}
    torch.manual_seed(seed)
    decoder = PixelCnnDecoder.Config(**settings).make(Sizes(image, d, known, 0)).double()
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.mul_(2)
    return decoder


def rows(n, width, seed=1):
    return torch.randn(n, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def images(n, image, form="bernoulli", seed=2):
    x = torch.rand(n, *image, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return 2 * (x > 0.5).double() - 1 if form == "bernoulli" else (255 * x).round() / 127.5 - 1


def all_binary(image):
    return torch.tensor(list(itertools.product((-1.0, 1.0), repeat=math.prod(image)))).double().view(-1, *image)


# ---------------------------------------------------------------------------------------------------------------------
# What is seen
# ---------------------------------------------------------------------------------------------------------------------


def allowed(image, reach):
    """Whether the colour a at (p, q) may be seen by the colour g at (i, j): [g, i, j, a, p, q]."""
    c, h, w = image
    seen = numpy.zeros((c, h, w, c, h, w), dtype=bool)
    for g, i, j, a, p, q in itertools.product(range(c), range(h), range(w), range(c), range(h), range(w)):
        above = 0 < i - p <= reach and abs(j - q) <= reach
        left = p == i and 0 < j - q <= reach
        seen[g, i, j, a, p, q] = above or left or ((p, q) == (i, j) and a < g)
    return seen


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("first", "kernel", "blocks", "reach"), [(3, 3, 1, 2), (5, 1, 1, 2), (3, 5, 1, 3), (3, 3, 0, 1)]
)
def test_a_pixel_sees_the_earlier_pixels_of_its_field_and_no_others(channels, code, first, kernel, blocks, reach):
    image = (channels, 4, 8)
    settings = {"first_kernel": first, "kernel": kernel, "blocks": blocks, "code": code, "distribution": "softmax"}
    decoder = small(image, width=18, head_width=36, **settings)  # so wide that no pixel has dead units alone
    slopes = 0
    for seed in range(4):
        z, known = rows(1, 3, seed), torch.zeros(1, 0, dtype=torch.float64)
        weights = rows(1, 256, 5)[0]

        def numbers(x, z=z, known=known, weights=weights):
            return torch.einsum("cmhw,m->chw", decoder.numbers(x[None], z, known)[0], weights)

        x = images(1, image, "softmax", seed)[0]
        slopes = slopes + torch.autograd.functional.jacobian(numbers, x, vectorize=True).abs()
    numpy.testing.assert_array_equal(slopes.numpy() != 0, allowed(image, reach))


@pytest.mark.parametrize("code", CODES)
def test_each_pixel_sees_the_code_and_what_is_known(code):
    decoder = small(code=code, known=2, conditional=True)
    x, z, known = images(1, (1, 4, 8)), rows(1, 3), rows(1, 2, 4)
    for of in range(2):

        def numbers(given, of=of):
            return decoder.numbers(x, *((given, known) if of == 0 else (z, given)))[0, 0, 0]

        slopes = torch.autograd.functional.jacobian(numbers, (z, known)[of])
        assert (slopes != 0).all()


def test_known_is_not_seen_unless_conditional():
    decoder = small(known=2)
    x, z = images(3, (1, 4, 8)), rows(3, 3)
    assert torch.equal(decoder.log_prob(x, z, rows(3, 2, 4)), decoder.log_prob(x, z, rows(3, 2, 5)))


@pytest.mark.parametrize("d", [3, 0])
def test_an_invariant_code_treats_all_pixels_alike_and_a_dependent_one_does_not(d):
    """Also where there is no code: a PixelCNN to compare with should know as much of where a pixel is."""
    image = (1, 8, 8)
    z, none = rows(1, d), torch.zeros(1, 0, dtype=torch.float64)
    for code, alike in (("invariant", True), ("dependent", False)):
        decoder = small(image, d, code=code)
        logits = decoder.numbers(torch.zeros(1, *image, dtype=torch.float64), z, none)[0, 0, 0]
        inner = logits[3:, 3:5]  # far from the borders, whose padding also tells where a pixel is
        assert torch.allclose(inner, inner[0, 0].expand_as(inner), atol=1e-9) == alike


# ---------------------------------------------------------------------------------------------------------------------
# The layers
# ---------------------------------------------------------------------------------------------------------------------


def full(weight, kernel, rows, columns):
    """A kernel of `kernel` x `kernel` with `weight` at these rows and columns, and zeros elsewhere."""
    whole = torch.zeros(*weight.shape[:2], kernel, kernel, dtype=weight.dtype)
    whole[:, :, rows, columns] = weight
    return whole


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("own", [False, True])
def test_cut_convolutions_are_masked_ones(kernel, own):
    torch.manual_seed(0)
    x, r = rows(2, 2 * 6 * 7).view(2, 2, 6, 7), kernel // 2
    above = AboveConvolution(2, 3, kernel, own_row=own).double()
    whole = full(above.weight.detach(), kernel, slice(0, r + own), slice(None))
    assert torch.allclose(above(x), F.conv2d(x, whole, above.bias, padding=r), atol=1e-12)
    left = LeftConvolution(2, 3, r, 1, own_colour=own).double()
    whole = full(left.weight.detach(), kernel, slice(r, r + 1), slice(0, r + own))
    assert torch.allclose(left(x), F.conv2d(x, whole, left.bias, padding=r), atol=1e-12)


@pytest.mark.parametrize("first", [False, True])
def test_a_gated_layer_is_what_the_paper_says(first):
    """Equation 4 of the paper with figure 2, in numpy at one pixel."""
    torch.manual_seed(0)
    width, inputs, (i, j), r = 4, (1 if first else 4), (3, 2), 1
    layer = GatedLayer(inputs, width, 3, 1, 2, first=first).double()
    v, s, c = (
        rows(1, inputs * 36, 2).view(1, inputs, 6, 6),
        rows(1, inputs * 36, 3).view(1, inputs, 6, 6),
        rows(1, 2, 4),
    )
    v, s = (v, v) if first else (v, s)
    u_all, s_all = layer(v, s, c[:, :, None, None])
    weights = {name: p.detach().numpy() for name, p in layer.named_parameters()}
    vertical, horizontal = v[0].numpy(), s[0].numpy()
    bias = weights["code.weight"][..., 0, 0] @ c[0].numpy()
    above = vertical[:, i - r : i + (not first), j - r : j + r + 1]
    u = numpy.einsum("oirc,irc->o", weights["vertical.weight"], above) + weights["vertical.bias"] + bias[:8]
    left = horizontal[:, i, j - r : j + (not first)]
    t = numpy.einsum("oic,ic->o", weights["horizontal.weight"][:, :, 0], left) + weights["horizontal.bias"] + bias[8:]
    t = t + weights["link.weight"][..., 0, 0] @ u
    y = numpy.tanh(t[:4]) * special.expit(t[4:])
    after = weights["merge.weight"][..., 0, 0] @ y + weights["merge.bias"] + (0 if first else horizontal[:, i, j])
    numpy.testing.assert_allclose(u_all[0, :, i, j].detach(), u, rtol=1e-10)
    numpy.testing.assert_allclose(s_all[0, :, i, j].detach(), after, rtol=1e-10)


# ---------------------------------------------------------------------------------------------------------------------
# The distributions of one pixel
# ---------------------------------------------------------------------------------------------------------------------


def of_one_pixel(form, seed=0, size=3.0):
    """The distribution, and numbers [1, 1, m, 1, 1] that describe one."""
    distribution = distribution_of(form)
    return distribution, size * rows(1, distribution.count, seed).view(1, 1, -1, 1, 1)


def probabilities(distribution, numbers, values):
    x = values.view(-1, 1, 1, 1)
    return distribution.log_prob(x, numbers.expand(len(x), -1, -1, -1, -1)).exp().flatten()


@pytest.mark.parametrize("size", [0.1, 3.0, 30.0])
@pytest.mark.parametrize("form", ["softmax", "discretised_logistic"])
def test_the_probabilities_of_the_bytes_add_up_to_one(form, size):
    for seed in range(5):
        assert probabilities(*of_one_pixel(form, seed, size), BYTES).sum() == pytest.approx(1, abs=1e-9)


def test_the_probabilities_are_those_of_scipy():
    distribution, logits = of_one_pixel("bernoulli")
    expected = special.expit([-float(logits), float(logits)])
    numpy.testing.assert_allclose(probabilities(distribution, logits, torch.tensor([-1.0, 1.0])), expected, rtol=1e-6)
    distribution, logits = of_one_pixel("softmax")
    expected = special.softmax(logits.flatten().numpy())
    numpy.testing.assert_allclose(probabilities(distribution, logits, BYTES), expected, rtol=1e-9)
    distribution, numbers = of_one_pixel("discretised_logistic", size=0.5)
    mean, raw = numbers.flatten().tolist()
    # log s = log f + softplus(raw + r0) with the floor f = 1e-4, and s = 0.1 at raw = 0
    scale = 1e-4 * math.exp(numpy.logaddexp(0, raw + math.log(math.expm1(math.log(0.1 / 1e-4)))))
    edges = numpy.concatenate([[-math.inf], BYTES[:-1].numpy() + 1 / 255, [math.inf]])
    expected = numpy.diff(stats.logistic(mean, scale).cdf(edges))
    numpy.testing.assert_allclose(probabilities(distribution, numbers, BYTES), expected, rtol=1e-7, atol=1e-12)


def test_a_logistic_scale_begins_at_a_tenth():
    numbers = torch.zeros(1, 1, 2, 1, 1, dtype=torch.float64)
    middle = probabilities(distribution_of("discretised_logistic"), numbers, BYTES)[128]
    assert middle == pytest.approx(stats.logistic(0, 0.1).cdf(2 / 255) - 0.5, rel=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_draws_at_evenly_spaced_quantiles_come_as_often_as_they_are_probable(form):
    """Of N quantiles (k + 1/2) / N the count of each value differs from N p by less than one; no chance is in it."""
    distribution, numbers = of_one_pixel(form, size=1.0)
    count = 20000
    u = ((torch.arange(count, dtype=torch.float64) + 0.5) / count).view(-1, 1, 1, 1)
    x = distribution.draw(numbers.expand(count, -1, -1, -1, -1), u).flatten()
    values = BYTES if form != "bernoulli" else torch.tensor([-1.0, 1.0], dtype=torch.float64)
    found = (x[:, None] - values).abs() < 1e-9
    assert found.any(1).all()
    expected = count * probabilities(distribution, numbers, values)
    assert (found.sum(0) - expected).abs().max() < 1 + 1e-6


@pytest.mark.parametrize("form", FORMS)
def test_draws_at_the_ends_are_pixels(form):
    distribution, numbers = of_one_pixel(form)
    u = torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64).view(2, 1, 1, 1)
    x = distribution.draw(numbers.expand(2, -1, -1, -1, -1), u)
    assert torch.equal(distribution.nearest(x), x)
    assert x.abs().max() <= 1


# ---------------------------------------------------------------------------------------------------------------------
# The likelihood of images
# ---------------------------------------------------------------------------------------------------------------------


def test_without_a_code_a_map_is_that_of_a_code_of_one():
    x, nothing = images(3, (1, 4, 8)), torch.zeros(3, 0, dtype=torch.float64)
    without, told = (small(d=d, code="dependent") for d in (0, 1))
    told.load_state_dict(without.state_dict())
    one = torch.ones(3, 1, dtype=torch.float64)
    assert torch.equal(without.log_prob(x, nothing, nothing), told.log_prob(x, one, nothing))


@pytest.mark.parametrize(("image", "blocks"), [((1, 2, 3), 1), ((1, 3, 3), 0), ((3, 1, 2), 2), ((2, 2, 2), 1)])
def test_the_probabilities_of_all_binary_images_add_up_to_one(image, blocks):
    decoder, x = small(image, blocks=blocks), all_binary(image)
    for seed in range(2):
        z = rows(1, 3, seed).expand(len(x), -1)
        p = decoder.log_prob(x, z, z[:, :0]).detach().exp()
        assert p.sum() == pytest.approx(1, abs=1e-12)
        assert p.max() > 2 * p.min()


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(("channels", "form"), [(1, "bernoulli"), (3, "softmax"), (3, "discretised_logistic")])
def test_the_likelihood_is_the_product_of_conditionals_that_never_saw_the_future(channels, form, code):
    image = (channels, 4, 4)
    decoder, x, z = small(image, distribution=form, code=code), images(2, image, form), rows(2, 3)
    garbage, total = images(2, image, form, seed=9), torch.zeros(2, dtype=torch.float64)
    with torch.no_grad():
        for i, j, g in itertools.product(range(4), range(4), range(channels)):
            order = torch.arange(16 * channels).view(4, 4, channels).permute(2, 0, 1)  # row, column, colour
            past = torch.where(order < order[g, i, j], x, garbage)
            numbers = decoder.numbers(past, z, z[:, :0])
            total += decoder.distribution.log_prob(x, numbers)[:, g, i, j]
        assert torch.allclose(decoder.log_prob(x, z, z[:, :0]), total, rtol=1e-10)


def test_bernoulli_takes_a_grey_pixel_for_the_nearer_of_black_and_white():
    decoder, z = small(), rows(4, 3)
    grey = rows(4, 32, 7).view(4, 1, 4, 8).tanh()
    assert torch.equal(decoder.log_prob(grey, z, z[:, :0]), decoder.log_prob(grey.sign(), z, z[:, :0]))


@pytest.mark.parametrize("form", ["softmax", "discretised_logistic"])
def test_pixels_between_bytes_are_taken_for_the_nearest(form):
    decoder, z, x = small(distribution=form), rows(4, 3), images(4, (1, 4, 8), form)
    near = (x + 0.3 * 2 / 255 * rows(4, 32, 7).view_as(x).tanh()).clamp(-1, 1)
    given, expected = (decoder.log_prob(each, z, z[:, :0]) for each in (near, x))
    assert torch.allclose(given, expected, rtol=1e-12)


def fitted(decoder, x, z, steps):
    """The mean log-likelihood after a few steps of Adam."""
    adam = torch.optim.Adam(decoder.parameters(), lr=0.03)
    for _ in range(steps):
        adam.zero_grad()
        loss = -decoder.log_prob(x, z, z[:, :0]).mean()
        loss.backward()
        adam.step()
    return decoder.log_prob(x, z, z[:, :0]).mean().item()


def of_four_images(d, **settings):
    torch.manual_seed(0)
    return PixelCnnDecoder.Config(width=8, blocks=1, first_kernel=5, **settings).make(Sizes((1, 4, 4), d, 0, 0))


def test_without_a_code_the_best_fit_of_four_images_is_their_entropy():
    """By Gibbs' inequality no distribution gives four equally frequent images more than -log 4 on average."""
    fit = fitted(of_four_images(0), images(4, (1, 4, 4)).float(), torch.zeros(4, 0), 100)
    assert -math.log(4) - 0.05 < fit < -math.log(4) + 1e-6


@pytest.mark.parametrize("code", CODES)
def test_with_a_code_for_each_image_the_fit_goes_to_certainty(code):
    fit = fitted(of_four_images(4, code=code), images(4, (1, 4, 4)).float(), torch.eye(4), 100)
    assert -0.05 < fit < 0


# ---------------------------------------------------------------------------------------------------------------------
# Precision, settings and the contract
# ---------------------------------------------------------------------------------------------------------------------


def test_probabilities_are_single_precision_under_autocast():
    decoder = small().float()
    x, z = images(3, (1, 4, 8)).float(), rows(3, 3).float()
    expected = decoder.log_prob(x, z, z[:, :0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        given = decoder.log_prob(x, z, z[:, :0])
        assert decoder.numbers(x, z, z[:, :0]).dtype == torch.float32
    given.sum().backward()
    assert given.dtype == torch.float32
    assert torch.allclose(given, expected, rtol=0.05)


def test_channels_last_changes_nothing():
    decoder, x, z = small(), images(3, (1, 4, 8)), rows(3, 3)
    expected = decoder.log_prob(x, z, z[:, :0])
    decoder.to(memory_format=torch.channels_last)
    given = decoder.log_prob(x.contiguous(memory_format=torch.channels_last), z, z[:, :0])
    assert torch.allclose(given, expected, rtol=1e-10)


@pytest.mark.parametrize("setting", ["width", "head_width"])
def test_colours_need_equal_numbers_of_maps(setting):
    settings = {"width": 30, "head_width": 30, setting: 32}
    message = (
        f"decoder 'pixelcnn' was asked for {setting} = 32, but each of the 3 colours of a pixel needs the same number "
        f"of maps; possible are multiples of 3, such as 30 and 33. Set {setting} = 30"
    )
    with pytest.raises(PlanError, match=f"^{re.escape(message)}$"):
        PixelCnnDecoder.Config(**settings).make(Sizes((3, 4, 4), 2, 0, 0))


def test_fewer_maps_than_colours_are_told_the_least():
    with pytest.raises(PlanError, match=r"width = 2, .* such as 3\. Set width = 3$"):
        PixelCnnDecoder.Config(width=2, head_width=3).make(Sizes((3, 4, 4), 2, 0, 0))


def test_a_dependent_code_needs_sides_that_are_multiples_of_four():
    message = re.escape('code = "dependent" was asked to take images of 6 x 8 pixels')
    for d in (2, 0):
        with pytest.raises(PlanError, match=message + r".* possible are sides that are multiples of 4\. .*invariant"):
            PixelCnnDecoder.Config(code="dependent").make(Sizes((1, 6, 8), d, 0, 0))


@pytest.mark.parametrize("setting", ["first_kernel", "kernel"])
def test_a_kernel_is_odd(setting):
    with pytest.raises(ValidationError, match="a kernel is centred on a pixel, so its size is odd; 4 is even, use 5"):
        PixelCnnDecoder.Config(**{setting: 4})


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(("channels", "form"), [(1, "bernoulli"), (3, "softmax"), (3, "discretised_logistic")])
def test_contract(channels, form, code):
    config = PixelCnnDecoder.Config(
        width=6, head_width=6, blocks=1, distribution=form, code=code, code_maps=2, conditional=True
    )
    check_decoder(config, image=(channels, 4, 4), code=2, known=3)
    assert issubclass(PixelCnnDecoder, AutoregressiveDecoder)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")  # of the modules that the contract test lends
def test_contract_by_default_and_without_a_code():
    check_decoder(PixelCnnDecoder.Config(width=4, blocks=0, head_width=4), image=(1, 4, 4), code=0)
