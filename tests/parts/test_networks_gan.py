"""The networks of the GAN baselines, layer by layer, from their papers' own words."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from genprior.parts import Borrowed, Decoder, Sizes
from genprior_std.conditioners.infogan import InfoGAN
from genprior_std.layers.doubled import Doubled
from genprior_std.networks.autoencoder_critic import AutoencoderCritic
from genprior_std.networks.began_decoder import BeganDecoder
from genprior_std.networks.dcgan_critic import DcganCritic
from genprior_std.networks.dcgan_decoder import DcganDecoder
from genprior_std.networks.infogan_critic import InfoganCritic
from genprior_std.networks.infogan_decoder import InfoganDecoder
from genprior_std.networks.wgan_resnet_critic import WganResnetCritic
from genprior_std.networks.wgan_resnet_decoder import WganResnetDecoder

from .by_hand import bn, conv, count, elu, images, leaky, linear, normalised, plain, relu, rows
from .gan_networks import CRITICS, DECODERS, OWN_CRITICS, each, made, sizes


def doubled(h):
    return h.repeat_interleave(2, 2).repeat_interleave(2, 3)


def halved(h):
    return (h[:, :, ::2, ::2] + h[:, :, 1::2, ::2] + h[:, :, ::2, 1::2] + h[:, :, 1::2, 1::2]) / 4


# ---------------------------------------------------------------------------------------------------------------------
# Sizes as published
# ---------------------------------------------------------------------------------------------------------------------


def test_dcgan_has_the_parameters_of_the_published_networks():
    # 64 x 64: 1024, 512, 256, 128 maps. The first normalisation has statistics for each unit.
    decoder = normalised(100, 16 * 1024) + normalised(1024, 512, 5) + normalised(512, 256, 5)
    decoder += normalised(256, 128, 5) + plain(128, 3, 5)
    critic = plain(3, 128, 5) + normalised(128, 256, 5) + normalised(256, 512, 5) + normalised(512, 1024, 5)
    critic += plain(16 * 1024, 1)
    with torch.device("meta"):
        assert count(DcganDecoder.Config().make(sizes(64, code=100))) == decoder
        assert count(DcganCritic.Config().make(sizes(64))) == critic


def test_dcgan_without_normalisation_is_the_convolutional_critic_of_wgan_gp():
    # gan_cifar.py with DIM = 128: 5x5 convolutions of 128, 256, 512 maps and a linear layer on 4 x 4 x 512.
    critic = plain(3, 128, 5) + plain(128, 256, 5) + plain(256, 512, 5) + plain(16 * 512, 1)
    decoder = normalised(128, 16 * 512) + normalised(512, 256, 5) + normalised(256, 128, 5) + plain(128, 3, 5)
    with torch.device("meta"):
        assert count(DcganCritic.Config(batch_norm=False, init="he").make(sizes())) == critic
        assert count(DcganDecoder.Config(init="he").make(sizes())) == decoder


def test_wgan_resnet_has_the_parameters_of_the_published_networks():
    # Without the bias of each first convolution of a generator's block, which its normalisation subtracts.
    w = 128
    block = 2 * w + w * w * 9 + 2 * w + plain(w, w, 3) + plain(w, w)
    decoder = plain(128, 16 * w) + 3 * block + 2 * w + plain(w, 3, 3)
    critic = plain(3, w, 3) + plain(w, w, 3) + plain(3, w)
    critic += 2 * plain(w, w, 3) + plain(w, w)
    critic += 2 * 2 * plain(w, w, 3) + plain(w, 1)
    with torch.device("meta"):
        assert count(WganResnetDecoder.Config().make(sizes())) == decoder
        assert count(WganResnetCritic.Config().make(sizes())) == critic


def test_began_has_the_parameters_of_the_published_networks():
    # 32 x 32: sides of 32, 16, 8 with n, 2n, 3n filters in the encoder, and n in the decoder; h = 64.
    n, h = 128, 64
    decoder = plain(h, 64 * n) + 3 * 2 * plain(n, n, 3) + plain(n, 3, 3)
    encoder = plain(3, n, 3) + 2 * plain(n, n, 3) + plain(n, n, 3)
    encoder += plain(n, 2 * n, 3) + plain(2 * n, 2 * n, 3) + plain(2 * n, 2 * n, 3)
    encoder += plain(2 * n, 3 * n, 3) + plain(3 * n, 3 * n, 3) + plain(64 * 3 * n, h)
    with torch.device("meta"):
        assert count(BeganDecoder.Config().make(sizes(code=h))) == decoder
        assert count(AutoencoderCritic.Config().make(sizes())) == encoder + decoder


def test_infogan_has_the_parameters_of_the_published_networks():
    decoder = normalised(74, 1024) + normalised(1024, 7 * 7 * 128) + normalised(128, 64, 4) + plain(64, 1, 4)
    critic = plain(1, 64, 4) + normalised(64, 128, 4) + normalised(7 * 7 * 128, 1024) + plain(1024, 1)
    with torch.device("meta"):
        assert count(InfoganDecoder.Config().make(sizes(28, 1, 74))) == decoder
        assert count(InfoganCritic.Config().make(sizes(28, 1))) == critic


def shapes_of(module, kinds, x):
    """The shapes that come out of the layers of these kinds, in order."""
    seen = []
    for layer in module.modules():
        if isinstance(layer, kinds):
            layer.register_forward_hook(lambda _m, _i, out: seen.append(tuple(out.shape[1:])))
    with torch.device("meta"):
        module(x, torch.empty(2, 0))
    return seen


@pytest.mark.parametrize(
    ("config", "side", "kinds", "shapes"),
    [
        (DcganDecoder.Config(), 64, nn.BatchNorm2d, [(512, 8, 8), (256, 16, 16), (128, 32, 32)]),
        (DcganCritic.Config(), 64, nn.Conv2d, [(128, 32, 32), (256, 16, 16), (512, 8, 8), (1024, 4, 4)]),
        (DcganDecoder.Config(), 32, nn.BatchNorm2d, [(256, 8, 8), (128, 16, 16)]),
        (DcganCritic.Config(), 32, nn.Conv2d, [(128, 16, 16), (256, 8, 8), (512, 4, 4)]),
        (DcganDecoder.Config(), 16, nn.BatchNorm2d, [(128, 8, 8)]),
        (DcganCritic.Config(), 16, nn.Conv2d, [(128, 8, 8), (256, 4, 4)]),
        (WganResnetDecoder.Config(), 32, Doubled, [(128, s, s) for s in (8, 16, 32)]),
        (WganResnetCritic.Config(), 32, nn.AvgPool2d, [(128, 16, 16), (3, 16, 16), (128, 8, 8), (128, 8, 8)]),
        (InfoganDecoder.Config(), 28, nn.Unflatten | nn.ConvTranspose2d, [(128, 7, 7), (64, 14, 14), (1, 28, 28)]),
        (InfoganCritic.Config(), 28, nn.Conv2d, [(64, 14, 14), (128, 7, 7)]),
        (BeganDecoder.Config(), 32, nn.Unflatten | Doubled, [(128, 8, 8), (128, 16, 16), (128, 32, 32)]),
    ],
)
def test_shapes_are_the_published_ones(config, side, kinds, shapes):
    channels = 1 if config.name == "infogan" else 3
    with torch.device("meta"):
        module = config.make(sizes(side, channels, code=64))
        x = torch.empty(2, 64) if isinstance(module, Decoder) else torch.empty(2, channels, side, side)
    assert shapes_of(module, kinds, x) == shapes


# ---------------------------------------------------------------------------------------------------------------------
# What they compute
# ---------------------------------------------------------------------------------------------------------------------


def test_dcgan_decoder_computes_what_was_published():
    decoder = made(DECODERS["dcgan"], (3, 32, 32))
    z, s = rows(4, 3), decoder.state_dict()
    how = {"stride": 2, "padding": 2, "output_padding": 1}
    h = relu(bn(linear(z, s, "stem.0"), s["stem.1.weight"], s["stem.1.bias"])).view(4, 8, 4, 4)
    for i, width in enumerate([4, 2]):
        h = F.conv_transpose2d(h, s[f"convolutions.{i}.0.weight"], **how)
        assert h.shape == (4, width, 8 << i, 8 << i)
        h = relu(bn(h, s[f"convolutions.{i}.1.weight"], s[f"convolutions.{i}.1.bias"]))
    x = F.conv_transpose2d(h, s["to_image.0.weight"], s["to_image.0.bias"], **how).tanh()
    torch.testing.assert_close(decoder(z, rows(4, 0)), x)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_dcgan_critic_computes_what_was_published(batch_norm):
    critic = made(CRITICS["dcgan"], (3, 64, 64), batch_norm=batch_norm)
    x, known, s = images(4, 3, 64, 64), rows(4, 0), critic.state_dict()
    h, maps = x, {}
    for i, width in enumerate([2, 4, 8, 16], start=1):
        h = conv(h, s, f"layers.conv{i}.0", stride=2, padding=2)
        assert h.shape == (4, width, 64 >> i, 64 >> i)
        if batch_norm and i > 1:
            h = bn(h, s[f"layers.conv{i}.1.weight"], s[f"layers.conv{i}.1.bias"])
        h = maps[f"conv{i}"] = leaky(h, 0.2)
    trunk = h.reshape(4, -1)
    check_layers(critic, x, maps, trunk)
    torch.testing.assert_close(critic(x, known), linear(trunk, s, "head")[:, 0])


def check_layers(critic, x, maps, trunk):
    known = rows(len(x), 0)
    assert critic.feature_layers == tuple(maps)
    for layer, expected in maps.items():
        torch.testing.assert_close(critic.features(x, known, layer), expected.reshape(len(x), -1))
    torch.testing.assert_close(critic.trunk(x, known), trunk)
    assert critic.trunk_width == trunk.shape[1]


def test_wgan_resnet_decoder_computes_what_was_published():
    """With the 1x1 convolution behind the up-sampling, as published."""
    decoder = made(DECODERS["wgan_resnet"], (3, 16, 16))
    z, s = rows(4, 3), decoder.state_dict()
    h = linear(z, s, "stem.0").view(4, 4, 4, 4)
    for i in range(2):
        p = f"blocks.{i}"
        main = doubled(relu(bn(h, s[f"{p}.main.0.weight"], s[f"{p}.main.0.bias"])))
        main = conv(main, s, f"{p}.main.3", padding=1)
        main = relu(bn(main, s[f"{p}.main.4.weight"], s[f"{p}.main.4.bias"]))
        h = conv(doubled(h), s, f"{p}.skip") + conv(main, s, f"{p}.main.6", padding=1)
    h = relu(bn(h, s["norm.0.weight"], s["norm.0.bias"]))
    torch.testing.assert_close(decoder(z, rows(4, 0)), conv(h, s, "to_image.0", padding=1).tanh())


@pytest.mark.parametrize(("side", "smaller"), [(8, 1), (16, 1), (32, 2), (64, 3)])
def test_wgan_resnet_critic_computes_what_was_published(side, smaller):
    """With the mean behind the 1x1 convolution in all blocks but the first, as published."""
    critic = made(CRITICS["wgan_resnet"], (3, side, side))
    x, known, s = images(2, 3, side, side), rows(2, 0), critic.state_dict()
    main = relu(conv(x, s, "layers.block1.main.0", padding=1))
    main = halved(conv(main, s, "layers.block1.main.2", padding=1))
    h = conv(halved(x), s, "layers.block1.skip.1") + main
    maps = {"block1": h}
    for i in range(2, smaller + 3):
        p = f"layers.block{i}"
        main = conv(relu(conv(relu(h), s, f"{p}.main.1", padding=1)), s, f"{p}.main.3", padding=1)
        h = halved(main) + halved(conv(h, s, f"{p}.skip.1")) if i <= smaller else main + h
        maps[f"block{i}"] = h
    assert h.shape[2] == max(min(side // 2, 8), 1)
    check_layers(critic, x, maps, relu(h).mean((2, 3)))
    torch.testing.assert_close(critic(x, known), linear(relu(h).mean((2, 3)), s, "head")[:, 0])


def decoded(h, s, prefix, last, count, side=8):
    """The decoder of BEGAN, from its weights, without bounds."""
    h = linear(h, s, f"{prefix}.0").view(len(h), -1, side, side)
    at = 2
    for i in range(count):
        if i:
            h, at = doubled(h), at + 1
        for _ in range(2):
            h, at = elu(conv(h, s, f"{prefix}.{at}", padding=1)), at + 2
    return conv(h, s, last or f"{prefix}.{at}", padding=1)


def test_began_decoder_computes_what_was_published():
    decoder = made(DECODERS["began"], (3, 32, 32))
    z = rows(4, 3)
    expected = decoded(z, decoder.state_dict(), "layers", "to_image.0", 3).tanh()
    torch.testing.assert_close(decoder(z, rows(4, 0)), expected)


@pytest.mark.parametrize(("side", "count"), [(4, 1), (8, 1), (32, 3)])
def test_autoencoder_critic_is_minus_its_own_error(side, count):
    critic = made(CRITICS["autoencoder"], (3, side, side))
    x, known, s = images(4, 3, side, side), rows(4, 0), critic.state_dict()
    h, maps = elu(conv(x, s, "layers.level1.0", padding=1)), {}
    for i in range(1, count + 1):
        if i > 1:
            h = conv(h, s, f"layers.level{i}.0", stride=2, padding=1)
        first = 2 if i == 1 else 1
        h = elu(conv(h, s, f"layers.level{i}.{first}", padding=1))
        h = maps[f"level{i}"] = elu(conv(h, s, f"layers.level{i}.{first + 2}", padding=1))
        assert h.shape == (4, 3 * i, side >> (i - 1), side >> (i - 1))
    code = linear(h.reshape(4, -1), s, "to_trunk.1")
    check_layers(critic, x, maps, code)
    assert code.shape == (4, 5)
    x_rec = decoded(code, s, "head", None, count, min(side, 8))
    torch.testing.assert_close(critic.reconstruct(x, known), x_rec)
    torch.testing.assert_close(critic(x, known), -(x - x_rec).abs().sum((1, 2, 3)) / (3 * side * side))


def test_autoencoder_critic_scores_what_it_reconstructs_higher():
    """A fixed point of the autoencoder has the score 0, which is the highest: the biases of its output, alone."""
    critic = made(CRITICS["autoencoder"], (2, 8, 8))
    with torch.no_grad():
        critic.head[-1].weight.zero_()
        critic.head[-1].bias.copy_(torch.tensor([0.5, -0.25]))
    easy = torch.tensor([0.5, -0.25], dtype=torch.float64).view(1, 2, 1, 1).expand(1, 2, 8, 8)
    off = easy + torch.tensor([0.1, 0.3], dtype=torch.float64).view(1, 2, 1, 1)
    torch.testing.assert_close(
        critic(torch.cat([easy, off]), rows(2, 0)), torch.tensor([0.0, -0.2], dtype=torch.float64)
    )


def test_infogan_decoder_gives_the_mean_of_a_bernoulli():
    decoder = made(DECODERS["infogan"], (1, 28, 20))
    z, s = rows(4, 3), decoder.state_dict()
    h = relu(bn(linear(z, s, "stem.0"), s["stem.1.weight"], s["stem.1.bias"]))
    h = relu(bn(linear(h, s, "stem.3"), s["stem.4.weight"], s["stem.4.bias"])).view(4, 4, 7, 5)
    h = F.conv_transpose2d(h, s["convolutions.0.weight"], stride=2, padding=1)
    h = relu(bn(h, s["convolutions.1.weight"], s["convolutions.1.bias"]))
    u = F.conv_transpose2d(h, s["to_image.0.weight"], s["to_image.0.bias"], stride=2, padding=1)
    torch.testing.assert_close((decoder(z, rows(4, 0)) + 1) / 2, 1 / (1 + (-u).exp()))


@pytest.mark.parametrize(("slope", "unit"), [(0.1, False), (0.01, False), (0.1, True)])
def test_infogan_critic_computes_what_was_published(slope, unit):
    """In the paper, and with the slope and the pixels in [0, 1] of its code."""
    assert (InfoganCritic.Config().slope, InfoganCritic.Config().unit_pixels) == (0.1, False)
    critic = made(CRITICS["infogan"], (1, 28, 20), slope=slope, unit_pixels=unit)
    x, s = images(4, 1, 28, 20), critic.state_dict()
    seen = (x + 1) / 2 if unit else x
    first = leaky(conv(seen, s, "layers.conv1.0", stride=2, padding=1), slope)
    second = conv(first, s, "layers.conv2.0", stride=2, padding=1)
    second = leaky(bn(second, s["layers.conv2.1.weight"], s["layers.conv2.1.bias"]), slope)
    trunk = linear(second.reshape(4, -1), s, "to_trunk.1")
    trunk = leaky(bn(trunk, s["to_trunk.2.weight"], s["to_trunk.2.bias"]), slope)
    check_layers(critic, x, {"conv1": first, "conv2": second}, trunk)
    torch.testing.assert_close(critic(x, rows(4, 0)), linear(trunk, s, "head")[:, 0])


@pytest.mark.parametrize("slope", [0.1, 0.01])
def test_the_hidden_layer_of_q_has_the_slope_of_its_setting(slope):
    critic = made(CRITICS["infogan"], (1, 16, 16))
    settings = InfoGAN.Config(categorical=(3,), head=5, slope=slope)
    conditioner = settings.make(Sizes((1, 16, 16), 4, 0, 3), image_critic=Borrowed(critic)).double()
    x, s = images(4, 1, 16, 16), conditioner.state_dict()
    hidden = linear(critic.trunk(x, rows(4, 0)), s, "head.0")
    hidden = leaky(bn(hidden, s["head.1.weight"], s["head.1.bias"]), slope)
    torch.testing.assert_close(conditioner.clusters(x), linear(hidden, s, "head.3").softmax(1))


@pytest.mark.parametrize("config", each(OWN_CRITICS))
def test_heads_of_infogan_stand_on_every_trunk(config):
    critic = made(config, (1, 16, 16))
    conditioner = InfoGAN.Config(categorical=(3,), continuous=1).make(
        Sizes((1, 16, 16), 4, 0, 4), image_critic=Borrowed(critic)
    )
    x = images(4, 1, 16, 16).requires_grad_()
    loss = conditioner.double().consistency(x, torch.eye(4, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(loss, x)
    assert gradient.abs().amax((1, 2, 3)).min() > 0
