"""The initialisation of the networks of the GAN baselines, and spectral normalisation."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import nn

from genprior.parts import Borrowed
from genprior_std.conditioners.infogan import InfoGAN
from genprior_std.layers.spectral import normalise_spectrally
from genprior_std.networks.autoencoder_critic import AutoencoderCritic
from genprior_std.networks.began_decoder import BeganDecoder
from genprior_std.networks.dcgan_critic import DcganCritic
from genprior_std.networks.dcgan_decoder import DcganDecoder
from genprior_std.networks.infogan_critic import InfoganCritic
from genprior_std.networks.infogan_decoder import InfoganDecoder
from genprior_std.networks.wgan_resnet_critic import WganResnetCritic
from genprior_std.networks.wgan_resnet_decoder import WganResnetDecoder

from .by_hand import count, images, rows
from .gan_networks import SPECTRAL, each, layers_of, made, sizes


def fits(values, distribution):
    """Kolmogorov-Smirnov at a level of 0.0005; the seed is fixed."""
    return stats.kstest(values.detach().flatten().numpy(), distribution.cdf).pvalue > 0.0005


@pytest.mark.parametrize(
    "config",
    [
        DcganDecoder.Config(width=8),
        DcganCritic.Config(width=8),
        InfoganDecoder.Config(width=8, hidden=64),
        InfoganCritic.Config(width=8, hidden=64),
    ],
    ids=lambda c: c.part.__name__,
)
def test_normal_start_is_that_of_dcgan(config):
    torch.manual_seed(3)
    module = config.make(sizes(16, code=16))
    weights = layers_of(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
    norms = layers_of(module, nn.BatchNorm1d | nn.BatchNorm2d)
    assert len(weights) >= 3
    assert all(fits(m.weight, stats.norm(0, 0.02)) for m in weights)
    assert all(fits(m.weight, stats.norm(1, 0.02)) for m in norms)
    assert all((m.bias == 0).all() for m in [*weights, *norms] if m.bias is not None)


def test_normal_start_reaches_the_head_of_infogan():
    """All weights of Q; by default they are torch's, uniform and wider."""
    torch.manual_seed(7)
    critic = InfoganCritic.Config(width=8, hidden=256).make(sizes(16))
    heads = {
        (init, head): InfoGAN.Config(head=head, init=init).make(sizes(16), image_critic=Borrowed(critic)).head
        for init in ("normal", "default")
        for head in (0, 64)
    }
    for (init, _), head in heads.items():
        weights = layers_of(head, nn.Linear)
        assert all(fits(m.weight, stats.norm(0, 0.02)) == (init == "normal") for m in weights)
        assert all(bool((m.bias == 0).all()) == (init == "normal") for m in weights)
    (norm,) = layers_of(heads["normal", 64], nn.BatchNorm1d)
    assert fits(norm.weight, stats.norm(1, 0.02))


def uniform(deviation):
    return stats.uniform(-math.sqrt(3) * deviation, 2 * math.sqrt(3) * deviation)


def test_he_start_is_that_of_wgan_gp():
    torch.manual_seed(4)
    decoder = DcganDecoder.Config(width=8, init="he").make(sizes(16, code=16))
    critic = DcganCritic.Config(width=8, init="he", batch_norm=False).make(sizes(16))
    # FC 16 -> 16 maps x 4 x 4; 16 -> 8 and 8 -> 3 maps up, where 25 / 4 weights of each map meet in an output.
    assert fits(decoder.stem[0].weight, uniform(math.sqrt(2 / (16 + 256))))
    assert fits(decoder.convolutions[0][0].weight, uniform(math.sqrt(4 / (16 * 25 / 4 + 8 * 25))))
    assert fits(decoder.to_image[0].weight, uniform(math.sqrt(4 / (8 * 25 / 4 + 3 * 25))))
    assert fits(critic.layers["conv1"][0].weight, uniform(math.sqrt(4 / (3 * 25 + 8 * 25 / 4))))
    assert fits(critic.layers["conv2"][0].weight, uniform(math.sqrt(4 / (8 * 25 + 16 * 25 / 4))))
    assert fits(critic.head.weight, uniform(math.sqrt(2 / (256 + 1))))
    assert (decoder.convolutions[0][1].weight == 1).all()
    assert all((m.bias == 0).all() for m in [*layers_of(critic, nn.Conv2d), critic.head, decoder.to_image[0]])


def test_residual_networks_start_as_published():
    torch.manual_seed(5)
    w = 16
    decoder = WganResnetDecoder.Config(width=w).make(sizes(16, code=8))
    critic = WganResnetCritic.Config(width=w).make(sizes(16))
    he, glorot = uniform(math.sqrt(4 / (2 * w * 9))), uniform(math.sqrt(2 / (2 * w)))
    for block in decoder.blocks:
        assert fits(block.main[3].weight, he)
        assert fits(block.main[6].weight, he)
        assert fits(block.skip.weight, glorot)
    assert fits(decoder.stem[0].weight, uniform(math.sqrt(2 / (8 + 16 * w))))
    assert fits(decoder.to_image[0].weight, uniform(math.sqrt(2 / (9 * (w + 3)))))
    first = critic.layers["block1"]
    assert fits(first.main[0].weight, uniform(math.sqrt(4 / (9 * (3 + w)))))
    assert fits(first.skip[1].weight, uniform(math.sqrt(2 / (3 + w))))
    assert fits(critic.layers["block2"].main[1].weight, he)
    assert fits(critic.head.weight, uniform(math.sqrt(2 / (w + 1))))


def test_networks_of_began_start_as_glorot_did():
    torch.manual_seed(6)
    for module in (BeganDecoder.Config(width=8).make(sizes(16)), AutoencoderCritic.Config(width=8).make(sizes(8))):
        for layer in layers_of(module, nn.Linear | nn.Conv2d):
            assert (layer.bias == 0).all()
            if layer.weight[0].dim() == 1 or layer.stride == (1, 1):
                fans = layer.weight[0].numel() + layer.weight[:, 0].numel()
                assert fits(layer.weight, uniform(math.sqrt(2 / fans)))


# ---------------------------------------------------------------------------------------------------------------------
# Spectral normalisation
# ---------------------------------------------------------------------------------------------------------------------


def weights_of(module):
    return [m.weight for m in layers_of(module, nn.Conv2d | nn.Linear)]


@pytest.mark.parametrize("config", each(SPECTRAL))
def test_largest_singular_value_of_every_weight_is_one(config):
    critic, off = made(config, (1, 16, 16)), made(config, (1, 16, 16), spectral_norm=False)
    x, known = images(2, 1, 16, 16), rows(2, 0)
    with torch.no_grad():
        for weight in (p for p in critic.parameters() if p.dim() > 1):
            weight.copy_(3 * rows(1, weight.numel()).view_as(weight))  # the vectors have yet to find these
        for _ in range(300):
            critic(x, known)
        critic.eval()
        found = [torch.linalg.svdvals(w.flatten(1))[0].item() for w in weights_of(critic)]
    assert len(found) == len(weights_of(off)) >= 3
    assert found == pytest.approx([1] * len(found), abs=1e-3)
    assert count(critic) == count(off)
    assert all(abs(torch.linalg.svdvals(w.detach().flatten(1))[0] - 1) > 1e-3 for w in weights_of(off))


@pytest.mark.parametrize("name", ["dcgan-spectral", "image_convolutional-spectral", "image_mlp-spectral"])
def test_critics_of_unit_spectral_norm_do_not_see_the_scale_of_their_weights(name):
    critic = made(SPECTRAL[name], (1, 8, 8))
    x, known = images(3, 1, 8, 8), rows(3, 0)
    critic.eval()
    expected = critic(x, known)
    with torch.no_grad():
        for weight in (p for p in critic.parameters() if p.dim() > 1):
            weight.mul_(7)
    torch.testing.assert_close(critic(x, known), expected)


@pytest.mark.parametrize("config", each(SPECTRAL))
def test_vectors_move_in_training_mode_alone(config):
    critic = made(config, (1, 16, 16))
    x, known = images(2, 1, 16, 16), rows(2, 0)
    vectors = {k: v.clone() for k, v in critic.named_buffers() if k.endswith(("_u", "_v"))}
    assert len(vectors) == 2 * len(layers_of(critic, nn.Conv2d | nn.Linear))
    critic.eval()
    critic(x, known)
    assert all(torch.equal(v, dict(critic.named_buffers())[k]) for k, v in vectors.items())
    critic.train()
    critic(x, known)
    assert any(not torch.equal(v, dict(critic.named_buffers())[k]) for k, v in vectors.items())


def test_norms_are_taken_in_full_precision_under_autocast():
    torch.manual_seed(0)
    layer = nn.Linear(40, 30)
    normalise_spectrally(layer)
    seen = []
    inner = layer.parametrizations.weight[0].parametrisation
    inner.register_forward_hook(lambda _m, _i, out: seen.append((torch.is_autocast_enabled("cpu"), out.dtype)))
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(2, 40)).dtype == torch.bfloat16
    assert seen == [(False, torch.float32)]
