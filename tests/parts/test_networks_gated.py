"""The gated networks of the VampPrior's paper."""

from __future__ import annotations

import math

import numpy
import pytest
import torch
from pydantic import ValidationError
from scipy import special, stats
from torch.nn import functional as F

from genprior.errors import PlanError
from genprior.parts import DensityPosterior, PointPosterior, Sizes
from genprior.testing import check_decoder, check_encoder
from genprior_std.layers.gated import GatedConvolution, GatedDense, GatedMlp, PosteriorHead
from genprior_std.networks.gated_convolutional_decoder import GatedConvolutionalDecoder
from genprior_std.networks.gated_convolutional_encoder import GatedConvolutionalEncoder
from genprior_std.networks.gated_mlp_decoder import GatedMlpDecoder
from genprior_std.networks.gated_mlp_encoder import GatedMlpEncoder

from .by_hand import count, plain

MNIST = (1, 28, 28)
SMALL = {
    GatedMlpEncoder: {"hidden": (7, 5)},
    GatedMlpDecoder: {"hidden": (7, 5)},
    GatedConvolutionalEncoder: {"width": 3, "maps": 2, "hidden": 6},
    GatedConvolutionalDecoder: {"width": 3, "hidden": 6},
}
ENCODERS = [GatedMlpEncoder, GatedConvolutionalEncoder]
DECODERS = [GatedMlpDecoder, GatedConvolutionalDecoder]


def sizes(image=MNIST, code=40, known=0):
    return Sizes(image=image, code=code, known=known, asked=0)


def small(network, image=(1, 8, 8), code=3, known=2, **more):
    torch.manual_seed(0)
    return network.Config(**SMALL[network], **more).make(sizes(image, code, known)).double()


def gated(inputs, outputs, kernel=1):
    """Parameters of a gated layer: two weights of outputs x inputs x kernel^2, two biases."""
    return 2 * (outputs * inputs * kernel**2 + outputs)


def gate(h, weight, bias):
    """(W h + b) * sigmoid(V h + c), in numpy; W above V and b above c."""
    h, weight, bias = (numpy.asarray(t) for t in (h, weight, bias))
    m = len(weight) // 2
    return (h @ weight[:m].T + bias[:m]) * special.expit(h @ weight[m:].T + bias[m:])


def rows(n, width, seed=1):
    return torch.randn(n, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def images(n, image, seed=2):
    return rows(n, math.prod(image), seed).tanh().view(n, *image)


# ---------------------------------------------------------------------------------------------------------------------
# The layers
# ---------------------------------------------------------------------------------------------------------------------


def test_gated_dense_is_the_product_with_its_gate():
    layer, h = GatedDense(5, 4).double(), rows(3, 5)
    expected = gate(h, layer.both.weight.detach(), layer.both.bias.detach())
    numpy.testing.assert_allclose(layer(h).detach(), expected, rtol=1e-12)


@pytest.mark.parametrize(("kernel", "stride", "side"), [(7, 1, 8), (5, 1, 8), (3, 1, 8), (3, 2, 4)])
def test_gated_convolution_is_the_product_of_two_convolutions(kernel, stride, side):
    layer, x = GatedConvolution(2, 3, kernel, stride).double(), images(2, (2, 8, 8))
    w, v = layer.both.weight.split(3)
    b, c = layer.both.bias.split(3)
    pad = kernel // 2
    expected = F.conv2d(x, w, b, stride, pad) * torch.sigmoid(F.conv2d(x, v, c, stride, pad))
    assert expected.shape == (2, 3, side, side)
    torch.testing.assert_close(layer(x), expected)


def test_two_streams_meet_behind_the_first_layer():
    torch.manual_seed(0)
    layers = GatedMlp(5, (4, 3, 2), known=6).double()
    x, known = rows(3, 5), rows(3, 6, seed=2)
    s = layers.state_dict()
    first = gate(x, s["first.both.weight"], s["first.both.bias"])
    second = gate(known, s["first_known.both.weight"], s["first_known.both.bias"])
    h = numpy.concatenate([first, second], 1)
    for i in range(2):
        h = gate(h, s[f"rest.{i}.both.weight"], s[f"rest.{i}.both.bias"])
    assert layers.width == 2
    numpy.testing.assert_allclose(layers(x, known).detach(), h, rtol=1e-12)
    assert GatedMlp(5, (4,), known=6).width == 8
    assert GatedMlp(5, (4,)).width == 4


@pytest.mark.parametrize(
    "layer",
    [lambda: GatedDense(400, 300).both, lambda: PosteriorHead(400, 300).linear],
    ids=["gated dense", "posterior head"],
)
def test_weights_start_from_a_normal_of_variance_two_by_inputs(layer):
    """Kolmogorov-Smirnov over 240,000 weights at a level of 0.001; the seed is fixed."""
    torch.manual_seed(3)
    weights = layer().weight.detach().flatten().numpy()
    assert stats.kstest(weights, stats.norm(0, math.sqrt(2 / 400)).cdf).pvalue > 0.001


def test_log_variance_is_kept_in_its_range_and_the_mean_is_not():
    torch.manual_seed(0)
    head = PosteriorHead(4, 3).double()
    h = 30 * rows(200, 4)
    q = head(h)
    out = h.numpy() @ head.linear.weight.detach().numpy().T + head.linear.bias.detach().numpy()
    numpy.testing.assert_allclose(q.mean.detach(), out[:, :3])
    numpy.testing.assert_allclose(q.log_variance.detach(), out[:, 3:].clip(-6, 2))
    assert q.log_variance.min() == -6
    assert q.log_variance.max() == 2
    assert q.mean.abs().max() > 6


# ---------------------------------------------------------------------------------------------------------------------
# Published shapes
# ---------------------------------------------------------------------------------------------------------------------


def test_parameters_of_the_fully_connected_networks():
    encoder = gated(784, 300) + gated(300, 300) + plain(300, 80)
    assert count(GatedMlpEncoder.Config().make(sizes())) == encoder == 675_680
    decoder = gated(40, 300) + gated(300, 300) + plain(300, 784)
    assert count(GatedMlpDecoder.Config().make(sizes())) == decoder
    # Of the hierarchical VAE: q(z1 | x, z2) and p(x | z1, z2), with 40 numbers in each of z1 and z2.
    both = gated(784, 300) + gated(40, 300) + gated(600, 300) + plain(300, 80)
    assert count(GatedMlpEncoder.Config(conditional=True).make(sizes(known=40))) == both
    both = 2 * gated(40, 300) + gated(600, 300) + plain(300, 784)
    assert count(GatedMlpDecoder.Config(conditional=True).make(sizes(known=40))) == both


@pytest.mark.parametrize(("image", "h"), [(MNIST, 294), ((1, 28, 20), 210), ((3, 32, 32), 384)])
@pytest.mark.parametrize("small_kernels", [False, True])
def test_parameters_of_the_convolutional_encoder(image, h, small_kernels):
    kernels = [3] * 5 if small_kernels else [7, 3, 5, 3, 3]
    channels = [image[0], 32, 32, 64, 64, 6]
    maps = sum(gated(*channels[i : i + 2], kernels[i]) for i in range(5))
    encoder = GatedConvolutionalEncoder.Config(small_kernels=small_kernels).make(sizes(image))
    assert count(encoder) == maps + plain(h, 80)
    encoder = GatedConvolutionalEncoder.Config(small_kernels=small_kernels, conditional=True)
    assert count(encoder.make(sizes(image, known=40))) == maps + gated(40, h) + gated(2 * h, 300) + plain(300, 80)


@pytest.mark.parametrize("image", [MNIST, (1, 28, 20), (3, 32, 32)])
def test_parameters_of_the_convolutional_decoder(image):
    pixels, c = math.prod(image), image[0]
    maps = gated(c, 64, 3) + 3 * gated(64, 64, 3) + plain(64, c)
    decoder = GatedConvolutionalDecoder.Config().make(sizes(image))
    assert count(decoder) == gated(40, 300) + gated(300, pixels) + maps
    decoder = GatedConvolutionalDecoder.Config(conditional=True).make(sizes(image, known=40))
    assert count(decoder) == 2 * gated(40, 300) + gated(600, pixels) + maps


def test_convolutional_encoder_joins_maps_and_condition():
    encoder = small(GatedConvolutionalEncoder, conditional=True)
    x, known = images(2, (1, 8, 8)), rows(2, 2)
    s = encoder.state_dict()
    h = x
    for i, (kernel, stride) in enumerate([(7, 1), (3, 2), (5, 1), (3, 2), (3, 1)]):
        w, v = s[f"convolutions.{i}.both.weight"].chunk(2)
        b, c = s[f"convolutions.{i}.both.bias"].chunk(2)
        assert w.shape[2:] == (kernel, kernel)
        pad = kernel // 2
        h = F.conv2d(h, w, b, stride, pad) * F.conv2d(h, v, c, stride, pad).sigmoid()
    assert h.shape == (2, 2, 2, 2)
    told = gate(known, s["from_known.both.weight"], s["from_known.both.bias"])
    joint = gate(numpy.concatenate([h.reshape(2, -1).numpy(), told], 1), s["joint.both.weight"], s["joint.both.bias"])
    out = joint @ s["to_code.linear.weight"].numpy().T + s["to_code.linear.bias"].numpy()
    q = encoder(x, known)
    numpy.testing.assert_allclose(q.mean.detach(), out[:, :3], rtol=1e-9)
    numpy.testing.assert_allclose(q.log_variance.detach(), out[:, 3:].clip(-6, 2), rtol=1e-9)


def test_convolutional_decoder_refines_a_first_image():
    decoder = small(GatedConvolutionalDecoder, conditional=True)
    z, known = rows(2, 3), rows(2, 2, seed=3)
    s = decoder.state_dict()
    streams = [gate(t, s[f"layers.{k}.both.weight"], s[f"layers.{k}.both.bias"]) for t, k in
               ((z, "first"), (known, "first_known"))]  # fmt: skip
    first = gate(numpy.concatenate(streams, 1), s["layers.rest.0.both.weight"], s["layers.rest.0.both.bias"])
    h = torch.from_numpy(first).view(2, 1, 8, 8)
    for i in range(4):
        w, v = s[f"convolutions.{i}.both.weight"].chunk(2)
        b, c = s[f"convolutions.{i}.both.bias"].chunk(2)
        h = F.conv2d(h, w, b, padding=1) * F.conv2d(h, v, c, padding=1).sigmoid()
    u = F.conv2d(h, s["to_image.0.weight"], s["to_image.0.bias"])
    torch.testing.assert_close((decoder(z, known) + 1) / 2, u.sigmoid())


def test_white_has_the_probability_of_the_papers_sigmoid():
    decoder = small(GatedMlpDecoder, conditional=False)
    z, s = rows(4, 3), decoder.state_dict()
    h = gate(z, s["layers.first.both.weight"], s["layers.first.both.bias"])
    h = gate(h, s["layers.rest.0.both.weight"], s["layers.rest.0.both.bias"])
    p = special.expit(h @ s["to_image.0.weight"].numpy().T + s["to_image.0.bias"].numpy())
    x = decoder(z, rows(4, 2)).detach()
    numpy.testing.assert_allclose((x.flatten(1) + 1) / 2, p, rtol=1e-9)


# ---------------------------------------------------------------------------------------------------------------------
# Contracts, and what every network keeps
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [0, 3])
@pytest.mark.parametrize("image", [(1, 8, 8), (3, 8, 12)])
@pytest.mark.parametrize("network", ENCODERS)
def test_encoders_keep_their_contract(network, image, known):
    check_encoder(network.Config(**SMALL[network], conditional=bool(known)), image=image, known=known)


@pytest.mark.parametrize("network", ENCODERS)
def test_encoders_of_points_keep_their_contract(network):
    check_encoder(network.Config(**SMALL[network], posterior="point"), image=(1, 8, 8))
    q = small(network, posterior="point")(images(2, (1, 8, 8)), rows(2, 2))
    assert isinstance(q, PointPosterior)
    assert isinstance(small(network)(images(2, (1, 8, 8)), rows(2, 2)), DensityPosterior)


@pytest.mark.parametrize("known", [0, 3])
@pytest.mark.parametrize("image", [(1, 8, 8), (3, 8, 12)])
@pytest.mark.parametrize("network", DECODERS)
def test_decoders_keep_their_contract(network, image, known):
    check_decoder(network.Config(**SMALL[network], conditional=bool(known)), image=image, known=known)


@pytest.mark.parametrize("network", [GatedMlpEncoder, *DECODERS])
def test_networks_without_strides_take_any_size(network):
    module = small(network, image=(2, 7, 5), known=0)
    if network is GatedMlpEncoder:
        assert module(images(2, (2, 7, 5)), rows(2, 0)).mean.shape == (2, 3)
    else:
        assert module(rows(2, 3), rows(2, 0)).shape == (2, 2, 7, 5)


def call(module, known):
    is_encoder = type(module) in ENCODERS
    x = images(2, (1, 8, 8)) if is_encoder else rows(2, 3)
    out = module(x, known)
    return out.mean if is_encoder else out


@pytest.mark.parametrize("network", SMALL)
def test_condition_is_used_where_it_is_wanted_and_only_there(network):
    known = rows(2, 2).requires_grad_()
    out = call(small(network, conditional=True), known)
    (gradient,) = torch.autograd.grad((out * rows(2, out[0].numel(), seed=7).view_as(out)).sum(), known)
    assert (gradient.abs() > 0).all()
    out = call(small(network, conditional=False), known)
    assert torch.autograd.grad(out.sum(), known, allow_unused=True) == (None,)
    nothing = rows(2, 0)
    without, with_none = (call(small(network, known=0, conditional=on), nothing) for on in (False, True))
    assert torch.equal(without, with_none)


@pytest.mark.parametrize("network", [GatedConvolutionalEncoder, GatedConvolutionalDecoder])
def test_channels_last_gives_the_same_and_is_kept(network):
    module = small(network, image=(3, 8, 8), conditional=True)
    encodes = network is GatedConvolutionalEncoder
    x, known = images(2, (3, 8, 8)) if encodes else rows(2, 3), rows(2, 2)

    def use():
        out = module(x, known)
        return out.mean if encodes else out

    expected, seen = use(), []
    module.to(memory_format=torch.channels_last)
    if encodes:
        x = x.contiguous(memory_format=torch.channels_last)
    for part in module.modules():
        if isinstance(part, GatedConvolution):
            part.register_forward_hook(
                lambda _m, _i, out: seen.append(out.is_contiguous(memory_format=torch.channels_last))
            )
    torch.testing.assert_close(use(), expected)
    assert len(seen) == (5 if encodes else 4)
    assert all(seen)


@pytest.mark.parametrize(("image", "near"), [((1, 30, 30), 32), ((3, 32, 18), 32), ((1, 2, 2), 4)])
def test_sides_that_cannot_be_quartered_are_refused_with_the_ways_out(image, near):
    with pytest.raises(PlanError) as error:
        GatedConvolutionalEncoder.Config().make(sizes(image))
    assert str(error.value) == (
        f"encoder 'gated_convolutional' was asked to take images of {image[1]} x {image[2]} pixels, but it halves them "
        f"to 1/4 of their sides; possible are sides that are multiples of 4. "
        f"Set the data set's `size = {near}`, or use encoder 'gated_mlp', which takes any size"
    )


@pytest.mark.parametrize(
    ("network", "settings", "wrong"),
    [
        (GatedMlpEncoder, {"hidden": ()}, "hidden"),
        (GatedMlpEncoder, {"posterior": "laplace"}, "posterior"),
        (GatedMlpDecoder, {"hidden": (3, 0)}, "hidden"),
        (GatedConvolutionalEncoder, {"maps": 0}, "maps"),
        (GatedConvolutionalDecoder, {"width": -1}, "width"),
    ],
)
def test_settings_out_of_range_are_refused(network, settings, wrong):
    with pytest.raises(ValidationError) as error:
        network.Config(**settings)
    assert {e["loc"][0] for e in error.value.errors()} == {wrong}
