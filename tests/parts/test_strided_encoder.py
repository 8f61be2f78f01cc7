"""The encoder of strided convolutions: its contract, its layers by hand, its noise."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from genprior.parts import Sizes
from genprior.testing import check_encoder
from genprior_std.networks.strided_encoder import StridedEncoder

SMALL = {"widths": (3, 4)}


def made(image=(1, 8, 8), code=3, known=0, **settings):
    torch.manual_seed(0)
    return StridedEncoder.Config(**{**SMALL, **settings}).make(Sizes(image, code, known, 0)).double()


def images(n, image, seed=2):
    return torch.randn(n, *image, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).tanh()


NOBODY = torch.empty(4, 0, dtype=torch.float64)


@pytest.mark.parametrize("posterior", ["point", "gaussian", "softmax"])
@pytest.mark.parametrize("image", [(1, 8, 8), (3, 7, 10), (1, 2, 1)])
def test_the_contract_of_an_encoder(image, posterior):
    check_encoder(StridedEncoder.Config(**SMALL, posterior=posterior), image=image)


def test_the_contract_with_every_option():
    settings = StridedEncoder.Config(
        widths=(3,), activation="leaky_relu", batch_norm=False, conditional=True, input_noise=0.2
    )
    check_encoder(settings, known=3)


def test_the_code_by_hand():
    """Two layers without and with normalisation (evaluation mode: running mean 0 and variance 1), then a matrix."""
    x = images(4, (1, 8, 8))
    for norm in (False, True):
        encoder = made(batch_norm=norm).eval()
        first, second = (layer for layer in encoder.convolutions if isinstance(layer, torch.nn.Conv2d))
        assert (first.bias is None) == norm
        scale = (1 + 1e-5) ** -0.5 if norm else 1.0
        h = (scale * F.conv2d(F.pad(x, (1, 1, 1, 1)), first.weight, first.bias, stride=2)).clamp(min=0)
        h = (scale * F.conv2d(F.pad(h, (1, 1, 1, 1)), second.weight, second.bias, stride=2)).clamp(min=0)
        assert h.shape == (4, 4, 2, 2)
        expected = h.reshape(4, 16) @ encoder.to_code.weight.T + encoder.to_code.bias
        torch.testing.assert_close(encoder(x, NOBODY).mean, expected)


def test_the_default_network_of_28_by_28_images():
    encoder = StridedEncoder.Config().make(Sizes((1, 28, 28), 30, 0, 0))
    convolutions = 9 * (1 * 64 + 64 * 128 + 128 * 256)
    normalisations = 2 * (64 + 128 + 256)
    assert sum(p.numel() for p in encoder.parameters()) == convolutions + normalisations + (256 * 4 * 4 + 1) * 30


def test_noise_is_added_while_training_alone_and_with_the_deviation_that_is_set():
    encoder = made(image=(1, 32, 32), input_noise=0.3, batch_norm=False)
    seen = []
    encoder.convolutions.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    x = images(64, (1, 32, 32))
    nobody = torch.empty(64, 0, dtype=torch.float64)
    encoder.train()(x, nobody), encoder.train()(x, nobody), encoder.eval()(x, nobody)
    noise = seen[0] - x
    # The deviation of 65,536 draws is within 5 standard errors, 0.3 / sqrt(2 * 65536) each: wrong once in 1.7 million.
    assert float(noise.std()) == pytest.approx(0.3, abs=5 * 0.3 / (2 * 65536) ** 0.5)
    assert abs(float(noise.mean())) < 5 * 0.3 / 65536**0.5
    assert not torch.equal(seen[0], seen[1]) and torch.equal(seen[2], x)


def test_without_noise_training_draws_nothing():
    encoder, x = made(batch_norm=False).train(), images(4, (1, 8, 8))
    assert torch.equal(encoder(x, NOBODY).mean, encoder(x, NOBODY).mean)


@pytest.mark.parametrize("settings", [{"widths": ()}, {"widths": (4, 0)}, {"input_noise": -0.1}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValidationError):
        StridedEncoder.Config(**settings)
