"""Noise on the input of networks, and dropout: in training only, of the width that is set, and none by default.

Statistical bounds are five standard errors: refused at random with probability below 1e-6 each (the seeds are fixed).
"""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import relu

from genprior.parts import Sizes
from genprior.testing import check_critic, check_encoder
from genprior_std.networks.code_mlp import CodeCritic
from genprior_std.networks.mlp_encoder import MlpEncoder

SIZES = Sizes(image=(1, 4, 4), code=3, known=2, asked=2)


def encoder(**settings):
    torch.manual_seed(1)
    return MlpEncoder.Config(hidden=(8, 6), **settings).make(SIZES).double()


def critic(**settings):
    torch.manual_seed(1)
    return CodeCritic.Config(hidden=(8, 6), **settings).make(SIZES).double()


def data(n=50):
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.rand(n, 1, 4, 4, dtype=torch.float64, generator=generator) - 1
    z = torch.randn(n, 3, dtype=torch.float64, generator=generator)
    return x, z, torch.eye(2, dtype=torch.float64)[torch.arange(n) % 2]


def seen_by(layer, run):
    """What comes into `layer` while `run` runs."""
    seen = []
    handle = layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    run()
    handle.remove()
    return seen[0].detach()


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize(
    "settings", [{"input_noise": 0.3}, {"dropout": 0.2}, {"input_noise": 0.3, "dropout": 0.2}, {"input_dropout": 0.5}]
)
def test_an_encoder_in_evaluation_mode_is_that_without_noise(settings, conditional):
    x, _, known = data()
    noisy, plain = encoder(conditional=conditional, **settings).eval(), encoder(conditional=conditional).eval()
    state = torch.get_rng_state()
    assert torch.equal(noisy(x, known).mean, plain(x, known).mean)
    assert torch.equal(state, torch.get_rng_state())
    noisy.train()
    assert not torch.equal(noisy(x, known).mean, plain(x, known).mean)


def test_a_critic_in_evaluation_mode_is_that_without_noise():
    _, z, known = data()
    noisy, plain = critic(input_noise=0.3).eval(), critic().eval()
    state = torch.get_rng_state()
    assert torch.equal(noisy(z, known), plain(z, known))
    assert torch.equal(state, torch.get_rng_state())
    noisy.train()
    assert not torch.equal(noisy(z, known), plain(z, known))


def test_by_default_training_draws_nothing_and_nothing_is_added_to_the_state():
    x, z, known = data()
    state = torch.get_rng_state()
    e, c = encoder().train(), critic().train()
    torch.set_rng_state(state)
    w = e.state_dict()
    hidden = x.flatten(1)
    for i in range(2):
        hidden = relu(hidden @ w[f"layers.{i}.0.weight"].T + w[f"layers.{i}.0.bias"])
    torch.testing.assert_close(e(x, known).mean, hidden @ w["to_code.weight"].T + w["to_code.bias"])
    c(z, known)
    assert torch.equal(state, torch.get_rng_state())
    linear = [f"layers.{i}.0.{what}" for i in range(2) for what in ("weight", "bias")]
    for noisy in (encoder(input_noise=0.3, dropout=0.2), e):
        assert list(noisy.state_dict()) == [*linear, "to_code.weight", "to_code.bias"]
    for noisy in (critic(input_noise=0.3), c):
        assert list(noisy.state_dict()) == [*linear, "head.weight", "head.bias"]


def check_noise(noise, sigma):
    n = noise.numel()
    assert abs(noise.mean()) < 5 * sigma / math.sqrt(n)
    # The variance of a sample variance of normal numbers is 2 sigma^4 / n.
    assert abs(noise.var() - sigma**2) < 5 * sigma**2 * math.sqrt(2 / n)
    # Fresh for each image and number: correlations between columns are of standard deviation 1 / sqrt(rows).
    correlation = torch.corrcoef(noise.T) - torch.eye(noise.shape[1], dtype=noise.dtype)
    assert correlation.abs().max() < 5 / math.sqrt(len(noise))


@pytest.mark.parametrize("conditional", [False, True])
def test_the_noise_of_an_encoder_is_on_the_pixels_alone(conditional):
    x, _, known = data(5000)
    network = encoder(conditional=conditional, input_noise=0.3).train()
    seen = seen_by(network.layers[0], lambda: network(x, known))
    check_noise(seen[:, :16] - x.flatten(1), 0.3)
    assert torch.equal(seen[:, 16:], known if conditional else known[:, :0])


@pytest.mark.parametrize("conditional", [False, True])
def test_the_noise_of_a_critic_is_on_the_codes_alone(conditional):
    _, z, known = data(5000)
    network = critic(conditional=conditional, input_noise=0.7).train()
    before = z.clone()
    seen = seen_by(network.layers[0], lambda: network(z, known))
    check_noise(seen[:, :3] - z, 0.7)
    assert torch.equal(seen[:, 3:], known if conditional else known[:, :0])
    assert torch.equal(z, before)


def test_dropout_is_on_the_first_hidden_layer_alone():
    x, _, known = data(5000)
    network = encoder(dropout=0.2).train()
    into_second = seen_by(network.layers[1], lambda: network(x, known))
    first = relu(network.layers[0][0](x.flatten(1))).detach()
    alive = first > 0
    dropped = alive & (into_second == 0)
    n = int(alive.sum())
    assert abs(dropped.sum() / n - 0.2) < 5 * math.sqrt(0.2 * 0.8 / n)
    kept = alive & ~dropped
    torch.testing.assert_close(into_second[kept], first[kept] / 0.8)
    assert torch.equal(seen_by(network.layers[0], lambda: network(x, known)), x.flatten(1))
    into_last = seen_by(network.to_code, lambda: network(x, known))
    assert into_last.shape == (5000, 6)
    torch.manual_seed(3)
    into_second = seen_by(network.layers[1], lambda: network(x, known))
    torch.manual_seed(3)
    into_last = seen_by(network.to_code, lambda: network(x, known))
    torch.testing.assert_close(into_last, relu(network.layers[1][0](into_second)).detach())


@pytest.mark.parametrize("conditional", [False, True])
def test_dropped_pixels_are_black_and_the_others_as_they_are(conditional):
    x, _, known = data(5000)
    network = encoder(conditional=conditional, input_dropout=0.2).train()
    before = x.clone()
    seen = seen_by(network.layers[0], lambda: network(x, known))
    black = seen[:, :16] == -1
    assert torch.equal(seen[:, :16][~black], x.flatten(1)[~black])
    assert abs(black.double().mean() - 0.2) < 5 * math.sqrt(0.2 * 0.8 / black.numel())
    assert torch.equal(seen[:, 16:], known if conditional else known[:, :0])
    assert torch.equal(x, before)


def test_pixels_are_dropped_before_noise_is_added():
    x, _, known = data(5000)
    network = encoder(input_dropout=0.9, input_noise=0.01).train()
    seen = seen_by(network.layers[0], lambda: network(x, known))
    black = (seen + 1).abs() < 0.08
    assert abs(black.double().mean() - 0.9) < 0.05


def test_the_contracts_hold_with_noise():
    check_encoder(MlpEncoder.Config(hidden=(8,), input_noise=0.3, input_dropout=0.2, dropout=0.2))
    check_critic(CodeCritic.Config(hidden=(8,), input_noise=0.3), of="codes")


@pytest.mark.parametrize(
    ("part", "setting"),
    [
        (MlpEncoder, {"input_noise": -0.1}),
        (MlpEncoder, {"input_noise": math.inf}),
        (MlpEncoder, {"input_dropout": 1.0}),
        (MlpEncoder, {"dropout": 1.0}),
        (MlpEncoder, {"dropout": -0.1}),
        (CodeCritic, {"input_noise": -0.1}),
        (CodeCritic, {"input_noise": math.nan}),
    ],
)
def test_settings_out_of_range_are_refused(part, setting):
    with pytest.raises(ValidationError, match="greater than or equal to 0|less than 1|finite"):
        part.Config(**setting)
