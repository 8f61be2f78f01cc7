"""The networks of VAE/GAN, layer by layer."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from genprior.errors import PlanError
from genprior.parts import Borrowed, DensityPosterior, FeatureCritic, PointPosterior, Sizes
from genprior.testing import check_critic, check_decoder, check_encoder
from genprior_std.networks.larsen_critic import LarsenCritic
from genprior_std.networks.larsen_decoder import LarsenDecoder
from genprior_std.networks.larsen_encoder import LarsenEncoder
from genprior_std.reconstruction.learned_similarity import LearnedSimilarity

from .by_hand import bn, count, images, normalised, plain, relu, rows

NETWORKS = [LarsenEncoder, LarsenDecoder, LarsenCritic]
SMALL = {LarsenEncoder: {"width": 2, "hidden": 6}, LarsenDecoder: {"width": 2}, LarsenCritic: {"width": 2, "hidden": 6}}


def sizes(side=32, channels=3, code=256, known=0):
    return Sizes(image=(channels, side, side), code=code, known=known, asked=0)


def small(network, image=(1, 8, 8), known=2, **more):
    torch.manual_seed(0)
    config = network.Config(**SMALL[network], **more)
    return config.make(Sizes(image=image, code=3, known=known, asked=0)).double()


@pytest.mark.parametrize(("side", "middle"), [(32, 192), (64, 256)])
def test_parameters_are_those_of_the_published_networks(side, middle):
    area = (side // 8) ** 2
    encoder = normalised(3, 64, 5) + normalised(64, 128, 5) + normalised(128, 256, 5)
    encoder += normalised(256 * area, 1024) + 2 * plain(1024, 256)
    assert count(LarsenEncoder.Config().make(sizes(side))) == encoder
    decoder = normalised(256, 256 * area) + normalised(256, middle, 5) + normalised(middle, 128, 5)
    decoder += normalised(128, 32, 5) + plain(32, 3, 5)
    assert count(LarsenDecoder.Config().make(sizes(side))) == decoder
    critic = plain(3, 32, 5) + normalised(32, 128, 5) + normalised(128, middle, 5) + normalised(middle, 256, 5)
    critic += normalised(256 * area, 512) + plain(512, 1)
    assert count(LarsenCritic.Config().make(sizes(side))) == critic


def test_a_count_by_hand():
    # 4 maps: 3x4x25 + 8; 8 maps: 4x8x25 + 16; 16 maps: 8x16x25 + 32; FC 5 of 16x4x4: 1280 + 10; FC 2x2: 5x4 + 4.
    config = LarsenEncoder.Config(width=4, hidden=5)
    assert count(config.make(sizes(code=2))) == 308 + 816 + 3232 + 1290 + 24


def test_encoder_computes_what_was_published():
    encoder = small(LarsenEncoder, (3, 16, 16), known=0)
    h, s = images(4, 3, 16, 16), encoder.state_dict()
    for i, width in enumerate([2, 4, 8]):
        h = F.conv2d(h, s[f"convolutions.{i}.0.weight"], stride=2, padding=2)
        assert h.shape == (4, width, 8 >> i, 8 >> i)
        h = relu(bn(h, s[f"convolutions.{i}.1.weight"], s[f"convolutions.{i}.1.bias"]))
    h = relu(bn(h.reshape(4, -1) @ s["to_code.0.weight"].T, s["to_code.1.weight"], s["to_code.1.bias"]))
    out = h @ s["to_code.3.weight"].T + s["to_code.3.bias"]
    q = encoder(images(4, 3, 16, 16), rows(4, 0))
    assert isinstance(q, DensityPosterior)
    torch.testing.assert_close(q.mean, out[:, :3])
    torch.testing.assert_close(q.log_variance, out[:, 3:])
    assert isinstance(small(LarsenEncoder, posterior="point")(images(4, 1, 8, 8), rows(4, 2)), PointPosterior)


def test_decoder_computes_what_was_published():
    decoder = small(LarsenDecoder, (3, 16, 16), known=0)
    z, s = rows(4, 3), decoder.state_dict()
    h = relu(bn(z @ s["stem.0.weight"].T, s["stem.1.weight"], s["stem.1.bias"])).view(4, 8, 2, 2)
    for i, width in enumerate([6, 4, 1]):
        weight = s[f"convolutions.{i}.0.weight"]
        # A transposed convolution is the gradient of the convolution that halves the side.
        side = h.shape[-1] * 2
        whole = torch.zeros(4, width, side, side, dtype=torch.float64, requires_grad=True)
        halved = F.conv2d(whole, weight, stride=2, padding=2)
        assert halved.shape == h.shape
        (h,) = torch.autograd.grad(halved, whole, h)
        h = relu(bn(h, s[f"convolutions.{i}.1.weight"], s[f"convolutions.{i}.1.bias"]))
    expected = F.conv2d(h, s["to_image.0.weight"], s["to_image.0.bias"], padding=2).tanh()
    torch.testing.assert_close(decoder(z, rows(4, 0)), expected)


@pytest.mark.parametrize("side", [16, 64])
def test_critic_gives_the_named_layers_of_its_own_logit(side):
    critic = small(LarsenCritic, (3, side, side), known=0)
    x, known, s = images(4, 3, side, side), rows(4, 0), critic.state_dict()
    h = F.conv2d(x, s["layers.conv1.0.weight"], s["layers.conv1.0.bias"], padding=2).clamp(min=0)
    expected = {"conv1": h}
    for i, width in enumerate([4, 8 if side == 64 else 6, 8], start=2):
        h = expected[f"conv{i}_pre"] = F.conv2d(h, s[f"layers.conv{i}_pre.weight"], stride=2, padding=2)
        assert h.shape == (4, width, side >> (i - 1), side >> (i - 1))
        h = relu(bn(h, s[f"layers.conv{i}.0.weight"], s[f"layers.conv{i}.0.bias"]))
        expected[f"conv{i}"] = h
    trunk = relu(bn(h.reshape(4, -1) @ s["to_trunk.1.weight"].T, s["to_trunk.2.weight"], s["to_trunk.2.bias"]))
    logits = trunk @ s["head.weight"][0] + s["head.bias"][0]
    assert critic.feature_layers == tuple(expected)
    for layer, features in expected.items():
        torch.testing.assert_close(critic.features(x, known, layer), features.reshape(4, -1))
    torch.testing.assert_close(critic.trunk(x, known), trunk)
    torch.testing.assert_close(critic(x, known), logits)
    assert critic.trunk_width == trunk.shape[1] == 6


def test_features_run_no_later_layer():
    critic = small(LarsenCritic, (1, 16, 16), known=0)
    ran = set()
    for name, part in critic.named_modules():
        if not list(part.children()):
            part.register_forward_hook(lambda _m, _i, _o, name=name: ran.add(".".join(name.split(".")[:2])))
    for last, layer in enumerate(critic.feature_layers, start=1):
        ran.clear()
        critic.features(images(2, 1, 16, 16), rows(2, 0), layer)
        assert ran == {f"layers.{name}" for name in critic.feature_layers[:last]}


@pytest.mark.parametrize("layer", ["conv3_pre", "conv4_pre"])
def test_layers_of_larsen_serve_the_learned_similarity(layer):
    critic = small(LarsenCritic, (1, 16, 16), known=0)
    config = LearnedSimilarity.Config(layer=layer, scale="none")
    similarity = config.make(sizes(16, 1), image_critic=Borrowed(critic))
    x, x_rec = images(3, 1, 16, 16), images(3, 1, 16, 16, seed=5).requires_grad_()
    error = similarity(x, x_rec, rows(3, 0))
    f_rec, f = critic.features(torch.cat([x_rec, x]), rows(6, 0), layer).chunk(2)
    torch.testing.assert_close(error, (f_rec - f).square().mean(1))
    (gradient,) = torch.autograd.grad(error.sum(), x_rec)
    assert gradient.abs().max() > 0


def test_unknown_layer_is_refused_with_the_possible_ones():
    critic = small(LarsenCritic)
    assert isinstance(critic, FeatureCritic)
    with pytest.raises(PlanError) as error:
        critic.features(images(2, 1, 8, 8), rows(2, 2), "conv5_pre")
    assert str(error.value).startswith(
        "critic 'larsen' was asked for the features of layer 'conv5_pre', which it does not have"
    )
    assert str(error.value).endswith("Possible: conv1, conv2, conv2_pre, conv3, conv3_pre, conv4, conv4_pre")
    with pytest.raises(PlanError):
        critic.features(images(2, 1, 8, 8), rows(2, 2), "head")


@pytest.mark.parametrize("known", [0, 3])
@pytest.mark.parametrize("image", [(1, 16, 16), (3, 16, 8)])
def test_contracts(image, known):
    conditional = bool(known)
    check_encoder(LarsenEncoder.Config(**SMALL[LarsenEncoder], conditional=conditional), image=image, known=known)
    check_decoder(LarsenDecoder.Config(**SMALL[LarsenDecoder], conditional=conditional), image=image, known=known)
    critic = LarsenCritic.Config(**SMALL[LarsenCritic], conditional=conditional)
    check_critic(critic, of="images", image=image, known=known)


@pytest.mark.parametrize("side", [8, 16, 32, 64, 96])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_at_every_size(side, channels):
    image = (channels, side, side)
    assert small(LarsenEncoder, image)(images(2, *image), rows(2, 2)).mean.shape == (2, 3)
    assert small(LarsenDecoder, image)(rows(2, 3), rows(2, 2)).shape == (2, *image)
    assert small(LarsenCritic, image)(images(2, *image), rows(2, 2)).shape == (2,)


def call(network, module, known, image=(1, 8, 8)):
    out = module(rows(4, 3) if network is LarsenDecoder else images(4, *image), known)
    return out.mean if network is LarsenEncoder else out


@pytest.mark.parametrize("network", NETWORKS)
def test_condition_is_used_where_it_is_wanted_and_only_there(network):
    known = rows(4, 2).requires_grad_()
    out = call(network, small(network, conditional=True), known)
    (gradient,) = torch.autograd.grad((out * rows(4, out[0].numel(), seed=7).view_as(out)).sum(), known)
    assert (gradient.abs().sum(0) > 0).all()
    out = call(network, small(network, conditional=False), known)
    assert torch.autograd.grad(out.sum(), known, allow_unused=True) == (None,)
    without, with_none = (call(network, small(network, known=0, conditional=on), rows(4, 0)) for on in (False, True))
    assert torch.equal(without, with_none)


@pytest.mark.parametrize("network", NETWORKS)
def test_gradients_are_those_of_differences(network):
    """In-place activations must not have overwritten what the backward pass needs."""
    module, known = small(network), rows(3, 2)
    x = (rows(3, 3) if network is LarsenDecoder else images(3, 1, 8, 8)).requires_grad_()

    def use(x):
        out = module(x, known)
        return out.mean if network is LarsenEncoder else out

    assert torch.autograd.gradcheck(use, x, fast_mode=True, eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("network", NETWORKS)
def test_channels_last_gives_the_same(network):
    module = small(network, (3, 16, 16), conditional=True)
    x, known = rows(4, 3) if network is LarsenDecoder else images(4, 3, 16, 16), rows(4, 2)

    def use():
        out = module(x, known)
        return out.mean if network is LarsenEncoder else out

    expected = use()
    module.to(memory_format=torch.channels_last)
    if network is not LarsenDecoder:
        x = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(use(), expected)


@pytest.mark.parametrize("network", NETWORKS)
def test_autocast_to_half_precision_stays_near(network):
    module = small(network, (1, 16, 16), known=0).float()
    x, known = (rows(32, 3) if network is LarsenDecoder else images(32, 1, 16, 16)).float(), torch.zeros(32, 0)

    def use():
        out = module(x, known)
        return out.mean if network is LarsenEncoder else out

    expected = use()
    with torch.autocast("cpu", torch.bfloat16):
        out = use()
    # bfloat16 has 8 significant bits, a relative step of 0.4%; a few layers add up.
    assert (out.float() - expected).norm() < 0.1 * expected.norm()


@pytest.mark.parametrize(
    ("network", "instead"),
    [(LarsenEncoder, "encoder 'mlp'"), (LarsenDecoder, "decoder 'mlp'"), (LarsenCritic, "critic 'image_mlp'")],
)
@pytest.mark.parametrize(("image", "near"), [((1, 28, 28), 32), ((3, 32, 20), 32), ((1, 4, 4), 8)])
def test_sides_that_are_no_multiples_of_8_are_refused_with_the_ways_out(network, instead, image, near):
    with pytest.raises(PlanError) as error:
        network.Config().make(Sizes(image=image, code=8, known=0, asked=0))
    assert str(error.value) == (
        f"{network.kind} 'larsen' was asked to take images of {image[1]} x {image[2]} pixels, but it halves them "
        f"to 1/8 of their sides; possible are sides that are multiples of 8. "
        f"Set the data set's `size = {near}`, or use {instead}, which takes any size"
    )


@pytest.mark.parametrize(
    ("network", "settings", "wrong"),
    [
        (LarsenEncoder, {"width": 0}, "width"),
        (LarsenEncoder, {"posterior": "laplace"}, "posterior"),
        (LarsenDecoder, {"width": 3}, "width"),
        (LarsenCritic, {"width": 7}, "width"),
        (LarsenCritic, {"hidden": 0}, "hidden"),
    ],
)
def test_settings_out_of_range_are_refused(network, settings, wrong):
    with pytest.raises(ValidationError) as error:
        network.Config(**settings)
    assert {e["loc"][0] for e in error.value.errors()} == {wrong}


@pytest.mark.parametrize("network", NETWORKS)
def test_layers_that_are_normalised_have_no_bias(network):
    """Its own mean would subtract it again, so it would get no gradient."""
    layers = [m for m in small(network).modules() if not list(m.children())]
    for layer, after in zip(layers, layers[1:], strict=False):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            assert (layer.bias is None) == isinstance(after, nn.BatchNorm1d | nn.BatchNorm2d)
