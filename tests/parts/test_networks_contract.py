"""The contract of every network: shapes, the condition, memory formats, half precision, and gradients."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from genprior.errors import PlanError
from genprior.parts import Critic, Decoder, Encoder, FeatureCritic, Posterior, Sizes
from genprior_std.networks.code_mlp import CodeCritic
from genprior_std.networks.image_convolutional import ConvolutionalImageCritic
from genprior_std.networks.image_mlp import MlpImageCritic
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.networks.residual_decoder import ResidualDecoder
from genprior_std.networks.residual_encoder import ResidualEncoder

CONVOLUTIONAL = [
    pytest.param(ResidualEncoder, {"width": 4}, id="residual-encoder"),
    pytest.param(ResidualEncoder, {"width": 4, "stem_stride": 2}, id="residual-encoder-as-printed"),
    pytest.param(ResidualEncoder, {"width": 4, "batch_norm": False}, id="residual-encoder-plain"),
    pytest.param(ResidualDecoder, {"width": 4}, id="residual-decoder"),
    pytest.param(ResidualDecoder, {"width": 4, "batch_norm": False}, id="residual-decoder-plain"),
    pytest.param(ConvolutionalImageCritic, {"width": 4, "hidden": 10}, id="image-convolutional"),
    pytest.param(
        ConvolutionalImageCritic, {"width": 4, "hidden": 10, "batch_norm": False}, id="image-convolutional-no-bn"
    ),
]
NETWORKS = [
    *CONVOLUTIONAL,
    pytest.param(MlpEncoder, {"hidden": (12, 9)}, id="mlp-encoder"),
    pytest.param(MlpEncoder, {"hidden": (12,), "batch_norm": True, "activation": "tanh"}, id="mlp-encoder-bn"),
    pytest.param(MlpDecoder, {"hidden": (12, 9)}, id="mlp-decoder"),
    pytest.param(MlpDecoder, {"hidden": (12,), "batch_norm": True, "activation": "leaky_relu"}, id="mlp-decoder-bn"),
    pytest.param(MlpImageCritic, {"hidden": (12, 9)}, id="image-mlp"),
    pytest.param(CodeCritic, {"hidden": (12, 9)}, id="code-mlp"),
]
CODE, KNOWN = 5, 3


def make(network, settings, side=8, channels=1, known=KNOWN, **more):
    torch.manual_seed(0)
    sizes = Sizes(image=(channels, side, side), code=CODE, known=known, asked=known)
    return network.Config(**settings, **more).make(sizes)


def inputs(network, n=6, side=8, channels=1, known=KNOWN, dtype=torch.float32):
    torch.manual_seed(1)
    takes_codes = issubclass(network, (Decoder, CodeCritic))
    x = torch.randn(n, CODE, dtype=dtype) if takes_codes else torch.rand(n, channels, side, side, dtype=dtype) * 2 - 1
    return x, torch.randn(n, known, dtype=dtype)


def tensor(out):
    return out.mean if isinstance(out, Posterior) else out


@pytest.mark.parametrize(("network", "settings"), NETWORKS)
@pytest.mark.parametrize("side", [4, 8, 16, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_at_every_size(network, settings, side, channels):
    x, known = inputs(network, n=2, side=side, channels=channels)
    out = tensor(make(network, settings, side, channels)(x, known))
    if issubclass(network, Encoder):
        assert out.shape == (2, CODE)
    elif issubclass(network, Decoder):
        assert out.shape == (2, channels, side, side)
        assert out.abs().max() <= 1
    else:
        assert issubclass(network, Critic)
        assert out.shape == (2,)


@pytest.mark.parametrize("network", [MlpEncoder, MlpDecoder, MlpImageCritic])
def test_fully_connected_networks_take_any_size(network):
    sizes = Sizes(image=(2, 7, 5), code=CODE, known=0, asked=0)
    module = network.Config(hidden=(6,)).make(sizes)
    x = torch.randn(3, CODE) if network is MlpDecoder else torch.randn(3, 2, 7, 5)
    shape = {MlpEncoder: (3, CODE), MlpDecoder: (3, 2, 7, 5), MlpImageCritic: (3,)}[network]
    assert tensor(module(x, torch.zeros(3, 0))).shape == shape


@pytest.mark.parametrize(("network", "settings"), NETWORKS)
def test_conditional_network_uses_each_column_of_known(network, settings):
    module = make(network, settings, conditional=True).double()
    x, known = inputs(network, dtype=torch.float64)
    out = tensor(module(x, known.requires_grad_()))
    (gradient,) = torch.autograd.grad((out * torch.randn_like(out)).sum(), known)
    assert (gradient.abs().sum(0) > 0).all()


@pytest.mark.parametrize(("network", "settings"), NETWORKS)
def test_unconditional_network_ignores_known(network, settings):
    module = make(network, settings, conditional=False)
    x, known = inputs(network)
    out = tensor(module(x, known.requires_grad_()))
    assert torch.autograd.grad(out.sum(), known, allow_unused=True) == (None,)
    assert torch.equal(out, tensor(module(x, torch.randn(6, 40))))


@pytest.mark.parametrize(("network", "settings"), NETWORKS)
def test_condition_of_width_zero_changes_nothing(network, settings):
    x, known = inputs(network, known=0)
    outs = [tensor(make(network, settings, known=0, conditional=on)(x, known)) for on in (False, True)]
    assert torch.equal(*outs)


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("network", "settings"), CONVOLUTIONAL)
def test_channels_last_gives_the_same(network, settings, channels, conditional):
    module = make(network, settings, 16, channels, conditional=conditional).double()
    x, known = inputs(network, side=16, channels=channels, dtype=torch.float64)
    expected = tensor(module(x, known))
    module.to(memory_format=torch.channels_last)
    if x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(tensor(module(x, known)), expected)


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("network", [ResidualEncoder, ResidualDecoder, ConvolutionalImageCritic])
def test_channels_last_is_kept_through_every_convolution(network, conditional):
    module = make(network, {"width": 4}, 16, 3, conditional=conditional).to(memory_format=torch.channels_last)
    x, known = inputs(network, side=16, channels=3)
    if x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    seen = []

    def look(part, args):
        if isinstance(part, torch.nn.Conv2d) or (isinstance(part, torch.nn.ConvTranspose2d) and args[0].dim() == 4):
            seen.append(args[0].is_contiguous(memory_format=torch.channels_last))

    for part in module.modules():
        part.register_forward_pre_hook(look)
    module(x, known)
    assert len(seen) >= 3
    assert all(seen)


@pytest.mark.parametrize(("network", "settings"), NETWORKS)
def test_half_precision_autocast_runs_and_stays_near(network, settings):
    module = make(network, settings, 16, conditional=True)
    x, known = inputs(network, n=32, side=16)
    expected = tensor(module(x, known))
    with torch.autocast("cpu", torch.bfloat16):
        out = tensor(module(x, known))
        loss = out.float().square().mean()
    # Pixels come in single precision: a half-precision tanh would round to exactly -1 or 1.
    assert out.dtype == (torch.float32 if issubclass(network, Decoder) else torch.bfloat16)
    # bfloat16 has 8 significant bits, a relative step of 0.4%; a few layers add up.
    assert (out.float() - expected).norm() < 0.1 * expected.norm()
    gradients = torch.autograd.grad(loss, list(module.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize(("network", "settings"), NETWORKS)
def test_every_parameter_and_the_input_gets_a_gradient(network, settings):
    module = make(network, settings, 16, conditional=True).double()
    x, known = inputs(network, n=8, side=16, dtype=torch.float64)
    out = tensor(module(x.requires_grad_(), known))
    loss = (out * torch.randn_like(out)).sum()
    names = [name for name, _ in module.named_parameters()]
    *gradients, to_x = torch.autograd.grad(loss, [*module.parameters(), x])
    assert to_x.abs().max() > 0
    for name, gradient in zip(names, gradients, strict=True):
        assert gradient.abs().max() > 0, name


@pytest.mark.parametrize(("network", "settings"), NETWORKS)
def test_gradients_are_those_of_differences(network, settings):
    """In-place activations must not have overwritten what the backward pass needs."""
    module = make(network, settings).double()
    x, known = inputs(network, n=3, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: tensor(module(x, known)), x.requires_grad_(), fast_mode=True, eps=1e-7, atol=1e-5
    )


@pytest.mark.parametrize(("network", "settings"), [p for p in NETWORKS if issubclass(p.values[0], Critic)])
def test_critics_can_be_differentiated_twice(network, settings):
    """A gradient penalty differentiates the gradient that a critic gives its input."""
    module = make(network, settings).double()
    x, known = inputs(network, n=3, dtype=torch.float64)
    assert torch.autograd.gradgradcheck(
        lambda x: module(x, known), x.requires_grad_(), fast_mode=True, eps=1e-7, atol=1e-5
    )


@pytest.mark.parametrize(("network", "settings"), NETWORKS)
def test_input_is_left_as_it_was(network, settings):
    x, known = inputs(network)
    copy = x.clone()
    make(network, settings, conditional=True)(x, known)
    assert torch.equal(x, copy)


@pytest.mark.parametrize(
    ("network", "part", "instead"),
    [
        (ResidualEncoder, "encoder 'residual'", "encoder 'mlp'"),
        (ResidualDecoder, "decoder 'residual'", "decoder 'mlp'"),
        (ConvolutionalImageCritic, "critic 'image_convolutional'", "critic 'image_mlp'"),
    ],
)
@pytest.mark.parametrize(
    ("image", "near"), [((1, 28, 28), 32), ((3, 32, 16), 32), ((3, 12, 12), 8), ((1, 2, 2), 4), ((1, 65, 65), 64)]
)
def test_wrong_image_size_is_refused_with_the_ways_out(network, part, instead, image, near):
    with pytest.raises(PlanError) as error:
        network.Config().make(Sizes(image=image, code=8, known=0, asked=0))
    assert str(error.value) == (
        f"{part} was asked to take images of {image[1]} x {image[2]} pixels, but it goes from 4 x 4 in factors of two; "
        f"possible are square images with a side of 4, 8, 16, 32, 64, 128 ... "
        f"Set the data set's `size = {near}`, or use {instead}, which takes any size"
    )


@pytest.mark.parametrize(
    ("network", "possible"),
    [(ConvolutionalImageCritic, ["conv1", "conv2", "conv3"]), (MlpImageCritic, ["hidden1", "hidden2"])],
)
def test_unknown_layer_is_refused_with_the_possible_ones(network, possible):
    critic = make(network, {"hidden": (6, 6)} if network is MlpImageCritic else {"width": 2, "hidden": 6})
    x, known = inputs(network)
    asked = possible[-1][:-1] + "9"
    with pytest.raises(PlanError) as error:
        critic.features(x, known, asked)
    text = str(error.value)
    assert text.startswith(
        f"critic '{network.name}' was asked for the features of layer '{asked}', which it does not have; "
    )
    assert "did you mean" in text
    assert text.endswith(f"Possible: {', '.join(possible)}")


@pytest.mark.parametrize(
    ("network", "settings", "wrong"),
    [
        (ResidualEncoder, {"width": 0}, "width"),
        (ResidualEncoder, {"stem_stride": 3}, "stem_stride"),
        (ResidualEncoder, {"posterior": "laplace"}, "posterior"),
        (ResidualDecoder, {"width": -1}, "width"),
        (ConvolutionalImageCritic, {"hidden": 0}, "hidden"),
        (CodeCritic, {"hidden": ()}, "hidden"),
        (MlpEncoder, {"hidden": (10, 0)}, "hidden"),
        (MlpDecoder, {"activation": "gelu"}, "activation"),
        (MlpImageCritic, {"depth": 3}, "depth"),
    ],
)
def test_settings_out_of_range_are_refused(network, settings, wrong):
    with pytest.raises(ValidationError) as error:
        network.Config(**settings)
    assert {e["loc"][0] for e in error.value.errors()} == {wrong}


def test_feature_critics_are_the_image_critics():
    assert issubclass(ConvolutionalImageCritic, FeatureCritic)
    assert issubclass(MlpImageCritic, FeatureCritic)
    assert not issubclass(CodeCritic, FeatureCritic)
