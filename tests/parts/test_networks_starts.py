"""The initialisation of the networks of likelihood models, and the final tanh of decoders."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from torch import nn

from genprior.errors import PlanError
from genprior.parts import Batch, Sizes
from genprior_std.layers.pixels import PixelTanh
from genprior_std.networks.gated_convolutional_decoder import GatedConvolutionalDecoder
from genprior_std.networks.gated_mlp_decoder import GatedMlpDecoder
from genprior_std.networks.larsen_decoder import LarsenDecoder
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder

from .by_hand import count, plain


def sizes(image=(1, 28, 28), code=40):
    return Sizes(image=image, code=code, known=0, asked=0)


# ---------------------------------------------------------------------------------------------------------------------
# The last tanh
# ---------------------------------------------------------------------------------------------------------------------

DECODER_CONFIGS = [
    MlpDecoder.Config(hidden=(16,)),
    GatedMlpDecoder.Config(hidden=(16, 16)),
    GatedConvolutionalDecoder.Config(width=4, hidden=16),
    LarsenDecoder.Config(width=4),
]


@pytest.mark.parametrize("config", DECODER_CONFIGS, ids=lambda c: c.part.__name__)
def test_tanh_is_in_single_precision_under_autocast(config):
    torch.manual_seed(0)
    decoder = config.make(sizes((1, 8, 8), 4)).eval()
    scale = decoder.to_image[-1].scale
    with torch.no_grad():  # pre-activations of about 6 / scale, whose tanh bfloat16 would call 1
        decoder.to_image[0].weight.zero_()
        decoder.to_image[0].bias.fill_(6 / scale)
    seen = []
    decoder.to_image[0].register_forward_hook(lambda _m, _i, out: seen.append(out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        x = decoder(torch.randn(3, 4), torch.zeros(3, 0))
        loss = -(0.5 * (1 - x)).log().mean()
    assert seen == [torch.bfloat16]
    assert torch.tensor(6.0).bfloat16().tanh() == 1
    assert x.dtype == torch.float32
    torch.testing.assert_close(x, torch.full_like(x, math.tanh(6)), rtol=0, atol=1e-7)
    # -log((1 - x) / 2) with x = tanh(s u) rises by s (1 + x) for each unit of u.
    (gradient,) = torch.autograd.grad(loss, decoder.to_image[0].bias)
    assert gradient.sum().item() == pytest.approx(scale * (1 + math.tanh(6)), rel=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tanh_keeps_full_precision(dtype):
    u = torch.linspace(-3, 3, 7, dtype=dtype)
    assert torch.equal(PixelTanh()(u), u.tanh())
    assert torch.equal(PixelTanh(0.5)(u), (0.5 * u).tanh())
    assert PixelTanh()(u.half()).dtype == torch.float32
    assert "scale=0.5" in repr(PixelTanh(0.5))


# ---------------------------------------------------------------------------------------------------------------------
# Starts
# ---------------------------------------------------------------------------------------------------------------------

IWAE = {"hidden": (200, 200), "activation": "tanh", "init": "glorot"}


def assert_uniform(weight, bound):
    """Kolmogorov-Smirnov at a level of 0.001; the seed is fixed."""
    weight = weight.detach().flatten().numpy()
    assert stats.kstest(weight, stats.uniform(-bound, 2 * bound).cdf).pvalue > 0.001


def test_networks_of_iwae_have_its_sizes_and_glorots_start():
    torch.manual_seed(4)
    encoder = MlpEncoder.Config(posterior="gaussian", **IWAE).make(sizes(code=50))
    decoder = MlpDecoder.Config(**IWAE).make(sizes(code=50))
    assert count(encoder) == plain(784, 200) + plain(200, 200) + 2 * plain(200, 50)
    assert count(decoder) == plain(50, 200) + plain(200, 200) + plain(200, 784)
    for network in (encoder, decoder):
        linears = [m for m in network.modules() if isinstance(m, nn.Linear)]
        assert len(linears) == 3
        assert all((m.bias == 0).all() for m in linears)
        for m in linears[: 2 if network is encoder else 3]:
            assert_uniform(m.weight, math.sqrt(6 / (m.in_features + m.out_features)))
    # Mean and log variance are two layers of 50 units, which happen to be computed as one.
    for half in encoder.to_code.weight.chunk(2):
        assert_uniform(half, math.sqrt(6 / (200 + 50)))


def test_point_encoder_starts_with_one_layer():
    torch.manual_seed(4)
    encoder = MlpEncoder.Config(**IWAE).make(sizes(code=50))
    assert_uniform(encoder.to_code.weight, math.sqrt(6 / (200 + 50)))


@pytest.mark.parametrize("network", [MlpEncoder, MlpDecoder])
def test_default_start_is_torchs_own(network):
    torch.manual_seed(5)
    made = network.Config(hidden=(6,)).make(sizes((1, 4, 4), 3))
    torch.manual_seed(5)
    widths = (16, 6, 3) if network is MlpEncoder else (3, 6, 16)
    expected = [nn.Linear(*pair) for pair in zip(widths, widths[1:], strict=False)]
    linears = [m for m in made.modules() if isinstance(m, nn.Linear)]
    for layer, other in zip(linears, expected, strict=True):
        assert torch.equal(layer.weight, other.weight)
        assert torch.equal(layer.bias, other.bias)


def drawer(data, asked):
    """The function that a trainer passes to `begin`: the first n images, and a PlanError if there are fewer."""

    def draw(n):
        asked.append(n)
        if n > len(data):
            raise PlanError("so many are not there")
        return Batch(data[:n], torch.zeros(n, dtype=torch.int64))

    return draw


@pytest.mark.parametrize(("available", "used"), [(3000, 1000), (1000, 1000), (999, 512), (300, 256), (3, 2), (1, 1)])
def test_decoder_starts_at_the_mean_image(available, used):
    torch.manual_seed(6)
    data = (torch.rand(available, 2, 3, 4) < torch.rand(2, 3, 4)).float() * 2 - 1
    data[:, 0, 0, 0], data[:, 1, 1, 1] = -1, 1  # always black, always white
    decoder = MlpDecoder.Config(hidden=(5,), start_from_mean=True).make(sizes((2, 3, 4), 3))
    others = {k: v.clone() for k, v in decoder.state_dict().items() if k != "to_image.0.bias"}
    asked = []
    decoder.begin(drawer(data, asked))
    assert asked[-1] == used
    assert all(n > available for n in asked[:-1])
    assert all(torch.equal(v, decoder.state_dict()[k]) for k, v in others.items())
    assert decoder.to_image[0].bias.requires_grad
    with torch.no_grad():
        decoder.to_image[0].weight.zero_()  # what is left is the bias
    p = (decoder(torch.randn(2, 3), torch.zeros(2, 0)) + 1) / 2
    expected = ((data[:used].double().mean(0) + 1) / 2).clip(0.001, 0.999).float()
    torch.testing.assert_close(p, expected.expand(2, -1, -1, -1), rtol=1e-4, atol=1e-6)


def test_decoder_that_does_not_start_from_the_mean_draws_nothing():
    decoder = MlpDecoder.Config(hidden=(5,)).make(sizes((1, 3, 4), 3))
    before = {k: v.clone() for k, v in decoder.state_dict().items()}
    asked = []
    decoder.begin(drawer(torch.ones(4, 1, 3, 4), asked))
    assert not asked
    assert all(torch.equal(v, decoder.state_dict()[k]) for k, v in before.items())


def test_no_training_image_is_an_error():
    decoder = MlpDecoder.Config(hidden=(5,), start_from_mean=True).make(sizes((1, 3, 4), 3))
    with pytest.raises(PlanError, match="so many are not there"):
        decoder.begin(drawer(torch.ones(0, 1, 3, 4), []))


def test_start_does_not_depend_on_the_memory_format():
    data = torch.rand(8, 3, 4, 4, dtype=torch.float64) * 2 - 1
    biases = []
    for form in (torch.contiguous_format, torch.channels_last):
        decoder = MlpDecoder.Config(hidden=(5,), start_from_mean=True).make(sizes((3, 4, 4), 3)).double()
        decoder.begin(drawer(data.contiguous(memory_format=form), []))
        biases.append(decoder.to_image[0].bias.detach())
    torch.testing.assert_close(*biases)


@pytest.mark.parametrize("network", [MlpEncoder, MlpDecoder])
def test_unknown_start_is_refused(network):
    with pytest.raises(ValidationError) as error:
        network.Config(init="he")
    assert {e["loc"][0] for e in error.value.errors()} == {"init"}
