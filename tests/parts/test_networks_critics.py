"""The critics against Table 4: counts, layers, and a recomputation from the table's own words."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from genprior.parts import Sizes
from genprior_std.networks.code_mlp import CodeCritic
from genprior_std.networks.image_convolutional import ConvolutionalImageCritic
from genprior_std.networks.image_mlp import MlpImageCritic

from .by_hand import bn, count, leaky


def sizes(side=32, channels=3, code=64, known=0):
    return Sizes(image=(channels, side, side), code=code, known=known, asked=known)


def layers_of_the_table(critic, x, strides):
    """Every map of the convolutional critic, its trunk and its logit, from the state dict alone."""
    s, outs = critic.state_dict(), []
    for i, stride in enumerate(strides, start=1):
        name = f"convolutions.conv{i}"
        x = F.conv2d(x, s[f"{name}.0.weight"], s[f"{name}.0.bias"], stride=stride, padding=1)
        if i > 1:
            x = bn(x, s[f"{name}.1.weight"], s[f"{name}.1.bias"])
        x = leaky(x)
        outs.append(x.reshape(len(x), -1))
    trunk = leaky(outs[-1] @ s["to_trunk.0.weight"].T + s["to_trunk.0.bias"])
    return outs, trunk, trunk @ s["head.weight"][0] + s["head.bias"][0]


def test_parameter_counts_are_those_of_the_paper():
    assert count(ConvolutionalImageCritic.Config().make(sizes())) == 4_757_649
    assert count(CodeCritic.Config().make(sizes())) == 665_901


def test_categorical_head_on_the_trunk_has_the_parameters_of_the_paper():
    critic = ConvolutionalImageCritic.Config().make(sizes())
    assert count(torch.nn.Linear(critic.trunk_width, 10)) == 10_010


@pytest.mark.parametrize(
    ("side", "kernels", "strides"),
    [
        (4, [3, 3, 3], [1, 1, 1]),
        (8, [3, 3, 4], [1, 1, 2]),
        (16, [3, 4, 4], [1, 2, 2]),
        (32, [4, 4, 4], [2, 2, 2]),
        (64, [4, 4, 4, 4], [2, 2, 2, 2]),
        (128, [4, 4, 4, 4, 4], [2, 2, 2, 2, 2]),
    ],
)
def test_convolutional_critic_computes_what_the_table_says(side, kernels, strides):
    torch.manual_seed(0)
    critic = ConvolutionalImageCritic.Config(width=2, hidden=7).make(sizes(side)).double()
    x, known = torch.randn(3, 3, side, side, dtype=torch.float64), torch.zeros(3, 0, dtype=torch.float64)
    shapes = [critic.state_dict()[f"convolutions.conv{i + 1}.0.weight"].shape for i in range(len(kernels))]
    widths = [2, 4, 8, 16, 16][: len(kernels)]
    assert [(s[0], s[2], s[3]) for s in shapes] == [(w, k, k) for w, k in zip(widths, kernels, strict=True)]
    assert critic.feature_layers == tuple(f"conv{i + 1}" for i in range(len(kernels)))
    outs, trunk, logits = layers_of_the_table(critic, x, strides)
    assert outs[-1].shape == (3, widths[-1] * 4 * 4)
    for layer, expected in zip(critic.feature_layers, outs, strict=True):
        torch.testing.assert_close(critic.features(x, known, layer), expected)
    torch.testing.assert_close(critic.trunk(x, known), trunk)
    torch.testing.assert_close(critic(x, known), logits)
    assert critic.trunk_width == trunk.shape[1] == 7


def test_code_critic_computes_what_the_table_says():
    torch.manual_seed(0)
    critic = CodeCritic.Config(hidden=(6, 5, 4)).make(sizes(code=3, known=2)).double()
    z, known = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
    weights = list(critic.state_dict().values())
    h = torch.cat([z, known], 1)
    for weight, bias in zip(weights[0:6:2], weights[1:6:2], strict=True):
        h = leaky(h @ weight.T + bias)
    torch.testing.assert_close(critic(z, known), h @ weights[6][0] + weights[7][0])


def test_fully_connected_critic_gives_the_layers_of_its_own_logit():
    torch.manual_seed(0)
    critic = MlpImageCritic.Config(hidden=(6, 5)).make(sizes(8, 1, known=2)).double()
    x, known = torch.randn(4, 1, 8, 8, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
    s = critic.state_dict()
    first = leaky(x.reshape(4, -1) @ s["layers.hidden1.0.weight"].T + s["layers.hidden1.0.bias"])
    second = leaky(first @ s["layers.hidden2.0.weight"].T + s["layers.hidden2.0.bias"])
    assert critic.feature_layers == ("hidden1", "hidden2")
    torch.testing.assert_close(critic.features(x, known, "hidden1"), first)
    torch.testing.assert_close(critic.features(x, known, "hidden2"), second)
    torch.testing.assert_close(critic.trunk(x, known), second)
    torch.testing.assert_close(critic(x, known), second @ s["head.weight"][0] + s["head.bias"][0])
    assert critic.trunk_width == 5


@pytest.mark.parametrize(
    ("critic", "prefix"),
    [
        (ConvolutionalImageCritic.Config(width=2, hidden=7), "convolutions"),
        (MlpImageCritic.Config(hidden=(6, 5, 4)), "layers"),
    ],
)
def test_features_run_no_later_layer(critic, prefix):
    module = critic.make(sizes(32, 1))
    ran = []
    for name, part in module.named_modules():
        if not list(part.children()):
            part.register_forward_hook(lambda _m, _i, _o, name=name: ran.append(name))
    for last, layer in enumerate(module.feature_layers, start=1):
        ran.clear()
        module.features(torch.randn(2, 1, 32, 32), torch.zeros(2, 0), layer)
        allowed = tuple(f"{prefix}.{name}." for name in module.feature_layers[:last])
        assert {name.split(".")[1] for name in ran} == set(module.feature_layers[:last])
        assert all(name.startswith(allowed) for name in ran)
