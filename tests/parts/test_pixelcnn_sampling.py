"""Drawing images from the gated PixelCNN."""

from __future__ import annotations

import itertools
import math

import numpy
import pytest
import torch
from scipy import stats

from genprior.parts import Sizes
from genprior_std.networks.pixelcnn_decoder import PixelCnnDecoder


def small(image, d=3, known=0, **settings):
    """A small PixelCNN in float64 whose weights are large enough that pixels depend strongly on each other."""
    settings = {"width": 6, "head_width": 6, "blocks": 2, "first_kernel": 5, **settings}
    torch.manual_seed(0)
    decoder = PixelCnnDecoder.Config(**settings).make(Sizes(image, d, known, 0)).double()
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.mul_(2)
    return decoder


def rows(n, width, seed=1):
    return torch.randn(n, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def uniforms(n, image, seed=3):
    return torch.rand(n, *image, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def sampled_plainly(decoder, z, known, u):
    """One pixel after the other, with the whole network computed anew for each."""
    x = torch.zeros_like(u)
    for i, j, g in itertools.product(range(u.shape[2]), range(u.shape[3]), range(u.shape[1])):
        x[:, g, i, j] = decoder.distribution.draw(decoder.numbers(x, z, known), u)[:, g, i, j]
    return x


@pytest.mark.parametrize("code", ["invariant", "dependent"])
@pytest.mark.parametrize("image", [(1, 4, 8), (1, 8, 4), (3, 4, 8)])
@pytest.mark.parametrize("form", ["bernoulli", "softmax", "discretised_logistic"])
def test_the_cache_changes_no_image(image, code, form):
    decoder = small(image, known=2, conditional=True, distribution=form, code=code)
    z, known, u = rows(4, 3), rows(4, 2, 5), uniforms(4, image)
    drawn = decoder.sample(z, known, u)
    assert torch.allclose(drawn, sampled_plainly(decoder, z, known, u), atol=1e-12)
    assert len(drawn.unique()) >= 2


def test_the_cache_changes_no_image_where_a_map_stands_for_no_code():
    decoder, u = small((1, 4, 8), 0, code="dependent"), uniforms(4, (1, 4, 8))
    nothing = torch.zeros(4, 0, dtype=torch.float64)
    assert torch.allclose(
        decoder.sample(nothing, nothing, u), sampled_plainly(decoder, nothing, nothing, u), atol=1e-12
    )


@pytest.mark.parametrize(
    "settings", [{"kernel": 1}, {"blocks": 0}, {"kernel": 5, "first_kernel": 3}, {"first_kernel": 9}, {"head_width": 3}]
)
@pytest.mark.parametrize("image", [(1, 5, 3), (3, 3, 5), (1, 1, 7), (2, 6, 1)])
def test_the_cache_changes_no_image_of_any_size_or_field(image, settings):
    if image[0] == 2:
        settings = {**settings, "head_width": 2}
    decoder = small(image, d=0, **settings)
    z, u = torch.zeros(5, 0, dtype=torch.float64), uniforms(5, image)
    assert torch.equal(decoder.sample(z, z, u), sampled_plainly(decoder, z, z, u))


@pytest.mark.parametrize("image", [(1, 2, 3), (3, 1, 2)])
def test_images_are_drawn_as_often_as_they_are_probable(image):
    """Chi-square over all 64 images of a code; of all seeds one in ten thousand would refuse a right sampler."""
    decoder, n = small(image, width=6), 4000
    x = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=math.prod(image)))).double().view(-1, *image)
    z = rows(1, 3)
    with torch.no_grad():
        expected = n * decoder.log_prob(x, z.expand(len(x), -1), x.new_zeros(len(x), 0)).exp().numpy()
    torch.manual_seed(1)
    drawn = decoder(z.expand(n, -1), x.new_zeros(n, 0))
    powers = 2 ** torch.arange(math.prod(image) - 1, -1, -1)
    observed = numpy.bincount(((drawn.flatten(1) > 0) * powers).sum(1).numpy(), minlength=len(x))
    rare = expected < 5
    if rare.any():
        expected = numpy.append(expected[~rare], expected[rare].sum())
        observed = numpy.append(observed[~rare], observed[rare].sum())
    assert len(expected) > 8
    assert stats.chisquare(observed, expected).pvalue > 1e-4
    even = numpy.full(len(expected), n / len(expected))
    assert stats.chisquare(observed, even).pvalue < 1e-4  # the test can tell another distribution


def test_forward_draws_anew_under_the_generator_and_without_a_gradient():
    decoder = small((1, 4, 4))
    z = rows(500, 3).requires_grad_()
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(decoder(z, z[:, :0]))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert drawn[0].shape == (500, 1, 4, 4)
    assert not drawn[0].requires_grad
    assert set(drawn[0].unique().tolist()) == {-1.0, 1.0}


def test_bytes_are_drawn_on_the_scale_of_the_data():
    x = small((1, 4, 4), distribution="softmax").sample(rows(20, 3), torch.zeros(20, 0, dtype=torch.float64))
    byte = 127.5 * (x + 1)
    assert torch.allclose(byte, byte.round(), atol=1e-9)
    assert x.min() >= -1
    assert x.max() <= 1


def test_autocast_leaves_samples_as_they_are():
    decoder = small((1, 4, 4)).float()
    z, u = rows(6, 3).float(), uniforms(6, (1, 4, 4)).float()
    expected = decoder.sample(z, z[:, :0], u)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(decoder.sample(z, z[:, :0], u), expected)
    half = decoder.sample(z.bfloat16(), z[:, :0].bfloat16())
    assert half.dtype == torch.float32
