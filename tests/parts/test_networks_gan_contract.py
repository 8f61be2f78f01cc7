"""The networks of the GAN baselines: the contracts, the condition, memory formats, half precision."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from genprior.errors import PlanError
from genprior.parts import DataInfo, Decoder, FeatureCritic, Sizes
from genprior.testing import check_critic, check_decoder, check_model
from genprior_std.conditioners.infogan import InfoGAN
from genprior_std.games.nonsaturating import NonSaturating
from genprior_std.models.aae import AdversarialAutoencoder
from genprior_std.networks.autoencoder_critic import AutoencoderCritic
from genprior_std.networks.began_decoder import BeganDecoder
from genprior_std.networks.code_mlp import CodeCritic
from genprior_std.networks.dcgan_critic import DcganCritic
from genprior_std.networks.dcgan_decoder import DcganDecoder
from genprior_std.networks.infogan_critic import InfoganCritic
from genprior_std.networks.infogan_decoder import InfoganDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.networks.wgan_resnet_critic import WganResnetCritic
from genprior_std.networks.wgan_resnet_decoder import WganResnetDecoder
from genprior_std.priors.gaussian import Gaussian
from genprior_std.reconstruction.learned_similarity import LearnedSimilarity

from .by_hand import images, rows
from .gan_networks import CRITICS, DECODERS, NETWORKS, OWN_CRITICS, SPECTRAL, each, inputs, layers_of, made


@pytest.mark.parametrize("known", [0, 3])
@pytest.mark.parametrize("config", each(DECODERS))
def test_decoders_keep_the_contract(config, known):
    check_decoder(config.model_copy(update={"conditional": bool(known)}), known=known)


@pytest.mark.parametrize("known", [0, 3])
@pytest.mark.parametrize("config", each(CRITICS))
def test_critics_keep_the_contract(config, known):
    check_critic(config.model_copy(update={"conditional": bool(known)}), of="images", known=known)


@pytest.mark.parametrize("side", [4, 8, 16, 32, 64])
@pytest.mark.parametrize("config", each({k: v for k, v in NETWORKS.items() if "larsen" not in k}))
def test_shapes_at_every_size(config, side):
    module = made(config, (3, side, side))
    out = module(inputs(module, 2), rows(2, 0))
    assert out.shape == ((2, 3, side, side) if isinstance(module, Decoder) else (2,))


@pytest.mark.parametrize("config", each(NETWORKS))
def test_condition_is_used_where_it_is_wanted_and_only_there(config):
    known = rows(4, 2).requires_grad_()
    module = made(config, (1, 8, 8), known=2, conditional=True)
    out = module(inputs(module), known)
    (gradient,) = torch.autograd.grad((out * rows(4, out[0].numel(), seed=7).view_as(out)).sum(), known)
    assert (gradient.abs().sum(0) > 0).all()
    module = made(config, (1, 8, 8), known=2, conditional=False)
    out = module(inputs(module), known)
    assert torch.autograd.grad(out.sum(), known, allow_unused=True) == (None,)


@pytest.mark.parametrize("config", each(NETWORKS))
def test_gradients_are_those_of_differences(config):
    """In-place activations must not have overwritten what the backward pass needs."""
    module = made(config).eval() if config in SPECTRAL.values() else made(config)
    x, known = inputs(module, 3).requires_grad_(), rows(3, 0)
    assert torch.autograd.gradcheck(lambda x: module(x, known), x, fast_mode=True, eps=1e-7, atol=1e-5)


@pytest.mark.parametrize(
    "config",
    each({k: CRITICS[k] for k in ("dcgan-plain", "wgan_resnet", "autoencoder", "dcgan-spectral")}),
)
def test_gradient_penalty_is_differentiable_in_every_weight(config):
    """The gradient of |grad D| by its weights, against a difference in a random direction of the weights."""
    critic = made(config).eval()
    x, known = images(3, 1, 8, 8), rows(3, 0)
    parameters = [p for p in critic.parameters() if p.dim() > 1]

    def penalty():
        given = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(critic(given, known).sum(), given, create_graph=True)
        return (gradient.flatten(1).norm(dim=1) - 1).square().mean()

    gradients = torch.autograd.grad(penalty(), parameters, allow_unused=True)
    assert all(g is not None and g.abs().max() > 0 for g in gradients)
    directions = [rows(1, p.numel(), seed=i).view_as(p) for i, p in enumerate(parameters)]
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True)).item()
    values = []
    for step in (1e-7, -2e-7):
        with torch.no_grad():
            for p, d in zip(parameters, directions, strict=True):
                p.add_(d, alpha=step)
        values.append(penalty().item())
    assert (values[0] - values[1]) / 2e-7 == pytest.approx(slope, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("config", each({k: v for k, v in NETWORKS.items() if "mlp" not in k}))
def test_channels_last_gives_the_same(config):
    module = made(config, (3, 16, 16), known=2, conditional=True).eval()
    x, known = inputs(module), rows(4, 2)
    expected = module(x, known)
    module.to(memory_format=torch.channels_last)
    if x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(module(x, known), expected)


@pytest.mark.parametrize("config", each(NETWORKS))
def test_autocast_to_half_precision_stays_near(config):
    module = made(config, (1, 16, 16)).float().eval()
    x, known = inputs(module, 32).float(), torch.zeros(32, 0)
    expected = module(x, known)
    with torch.autocast("cpu", torch.bfloat16):
        out = module(x, known)
    if isinstance(module, Decoder):
        assert out.dtype == torch.float32  # the last tanh
    # bfloat16 has 8 significant bits, a relative step of 0.4%; a few layers add up.
    assert (out.float() - expected).norm() < 0.1 * expected.norm()


@pytest.mark.parametrize("config", each(DECODERS))
def test_tanh_is_in_single_precision_under_autocast(config):
    decoder = made(config).float().eval()
    scale = decoder.to_image[-1].scale
    with torch.no_grad():  # pre-activations of about 6 / scale, whose tanh bfloat16 would call 1
        decoder.to_image[0].weight.zero_()
        decoder.to_image[0].bias.fill_(6 / scale)
    with torch.autocast("cpu", torch.bfloat16):
        x = decoder(torch.randn(3, 3), torch.zeros(3, 0))
    torch.testing.assert_close(x, torch.full_like(x, math.tanh(6)), rtol=0, atol=1e-7)


@pytest.mark.parametrize("config", each(OWN_CRITICS))
def test_features_run_no_later_layer(config):
    critic = made(config, (1, 32, 32))
    ran = set()
    for name, layer in critic.named_modules():
        if not list(layer.children()):
            layer.register_forward_hook(lambda _m, _i, _o, name=name: ran.add(".".join(name.split(".")[:2])))
    for last, layer in enumerate(critic.feature_layers, start=1):
        ran.clear()
        critic.features(images(2, 1, 32, 32), rows(2, 0), layer)
        assert ran == {f"layers.{name}" for name in critic.feature_layers[:last]}


@pytest.mark.parametrize("config", each(OWN_CRITICS))
def test_unknown_layer_is_refused_with_the_possible_ones(config):
    critic = made(config)
    assert isinstance(critic, FeatureCritic)
    with pytest.raises(PlanError) as error:
        critic.features(images(2, 1, 8, 8), rows(2, 0), "nothing")
    assert str(error.value) == (
        f"critic '{config.name}' was asked for the features of layer 'nothing', which it does not have. "
        f"Possible: {', '.join(critic.feature_layers)}"
    )


@pytest.mark.parametrize("config", each({k: v for k, v in NETWORKS.items() if "spectral" not in k}))
def test_images_of_a_wrong_size_are_refused_with_the_ways_out(config):
    part = config.part
    instead = "decoder 'mlp'" if issubclass(part, Decoder) else "critic 'image_mlp'"
    with pytest.raises(PlanError) as error:
        config.make(Sizes(image=(1, 30, 30), code=8, known=0, asked=0))
    text = str(error.value)
    assert text.startswith(f"{part.kind} '{part.name}' was asked to take images of 30 x 30 pixels, but it ")
    assert f"Set the data set's `size = 32`, or use {instead}" in text


@pytest.mark.parametrize(
    ("part", "settings", "wrong"),
    [
        (DcganDecoder, {"init": "orthogonal"}, "init"),
        (DcganCritic, {"width": 0}, "width"),
        (WganResnetDecoder, {"width": 0}, "width"),
        (WganResnetCritic, {"batch_norm": True}, "batch_norm"),
        (BeganDecoder, {"width": 0}, "width"),
        (AutoencoderCritic, {"hidden": 0}, "hidden"),
        (InfoganDecoder, {"hidden": 0}, "hidden"),
        (InfoganCritic, {"width": -1}, "width"),
    ],
)
def test_settings_out_of_range_are_refused(part, settings, wrong):
    with pytest.raises(ValidationError) as error:
        part.Config(**settings)
    assert {e["loc"][0] for e in error.value.errors()} == {wrong}


@pytest.mark.parametrize("config", each({**DECODERS, **OWN_CRITICS}))
def test_layers_that_are_normalised_have_no_bias(config):
    """Its own mean would subtract it again, so it would get no gradient."""
    plain = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
    norms = nn.BatchNorm1d | nn.BatchNorm2d
    chains = layers_of(made(config, (1, 16, 16)), nn.Sequential)
    pairs = [pair for chain in chains for pair in pairwise(chain) if isinstance(pair[0], plain)]
    assert pairs
    assert all((layer.bias is None) == isinstance(after, norms) for layer, after in pairs)


@pytest.mark.parametrize(
    "config", [SPECTRAL["dcgan-spectral"], SPECTRAL["wgan_resnet-spectral"], CRITICS["autoencoder"]]
)
def test_phase_that_only_looks_through_a_critic_leaves_all_of_it(config):
    """The first phase compares images in the critic's features, and so moves what a forward pass moves."""
    layer = {"dcgan": "conv2", "wgan_resnet": "block2", "autoencoder": "level2"}[config.name]
    model = AdversarialAutoencoder.Config(
        code_size=4,
        prior=Gaussian.Config(),
        encoder=MlpEncoder.Config(hidden=(16,)),
        decoder=DECODERS["infogan"],
        code_critic=CodeCritic.Config(hidden=(16,)),
        image_critic=config,
        reconstruction=LearnedSimilarity.Config(layer=layer),
        conditioner=InfoGAN.Config(categorical=(3,), continuous=1),
        code_game=NonSaturating.Config(),
        image_game=NonSaturating.Config(),
        improves={"decoder": True},
    )
    check_model(model, DataInfo((1, 16, 16), ("a", "b", "c")))
