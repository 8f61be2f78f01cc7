"""Encoders whose codes are normalised over the batch: which collapse this prevents, and what it cannot be used for."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import batch_norm

from genprior.errors import PlanError
from genprior.parts import Sizes
from genprior.testing import check_encoder
from genprior_std.layers.posterior import CodeNorm
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.networks.strided_encoder import StridedEncoder

SIZES = Sizes((1, 6, 6), 5, 0, 0)
ENCODERS = [MlpEncoder.Config(hidden=(8, 7)), StridedEncoder.Config(widths=(3, 4))]
NAMES = ["mlp", "strided"]


def made(config, **settings):
    torch.manual_seed(0)
    return config.model_copy(update=settings).make(SIZES).double()


def images(n=40):
    return torch.randn(n, 1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).tanh()


def nobody(n):
    return torch.empty(n, 0, dtype=torch.float64)


def raw(encoder, x):
    """What the last layer puts out."""
    seen = []
    handle = encoder.to_code.register_forward_hook(lambda module, inputs, out: seen.append(out))
    encoder(x, nobody(len(x)))
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("config", ENCODERS, ids=NAMES)
@pytest.mark.parametrize("posterior", ["point", "softmax"])
def test_the_contract_of_an_encoder(config, posterior):
    check_encoder(config.model_copy(update={"normalise_code": True, "posterior": posterior}), image=(1, 6, 6))


@pytest.mark.parametrize("config", ENCODERS, ids=NAMES)
def test_numbers_of_a_code_have_the_scale_and_shift_that_are_learned(config):
    encoder, x = made(config, normalise_code=True), images()
    with torch.no_grad():
        encoder.code_norm.weight.copy_(torch.arange(1.0, 6.0))
        encoder.code_norm.bias.copy_(torch.arange(5.0))
    z = encoder.train()(x, nobody(40)).mean
    torch.testing.assert_close(z.mean(0), torch.arange(5.0, dtype=torch.float64))
    # The numbers in front vary little, so the 1e-5 that is added to their variance shows.
    variance = raw(encoder, x).var(0, correction=0)
    expected = torch.arange(1.0, 6.0, dtype=torch.float64) * (variance / (variance + 1e-5)).sqrt()
    torch.testing.assert_close(z.std(0, correction=0), expected)


@pytest.mark.parametrize("config", ENCODERS, ids=NAMES)
def test_a_soft_category_is_the_softmax_of_normalised_logits(config):
    encoder, x = made(config, normalise_code=True, posterior="softmax"), images()
    logits = batch_norm(raw(encoder.train(), x), None, None, training=True)
    torch.testing.assert_close(encoder(x, nobody(40)).mean, torch.softmax(logits, 1))


@pytest.mark.parametrize("config", ENCODERS, ids=NAMES)
def test_no_weights_of_the_last_layer_send_all_images_into_one_category(config):
    """Normalised logits have mean zero over the batch for each category; without, one category takes all images."""
    x = images()
    for on in (True, False):
        encoder = made(config, normalise_code=on, posterior="softmax").train()
        with torch.no_grad():
            # A positive weight on positive numbers is a preference that all images have.
            encoder.to_code.weight[2] = encoder.to_code.weight[2].abs() + 10
        member = encoder(x, nobody(40)).mean.argmax(1)
        assert (len(member.unique()) == 1) == (not on)


@pytest.mark.parametrize("config", ENCODERS, ids=NAMES)
def test_while_scoring_a_code_does_not_depend_on_the_other_images(config):
    encoder, x = made(config, normalise_code=True), images()
    encoder.train()(x, nobody(40))
    encoder.eval()
    torch.testing.assert_close(encoder(x, nobody(40)).mean[:3], encoder(x[:3], nobody(3)).mean)


def test_half_precision_is_normalised_in_single():
    u = torch.randn(8, 3).bfloat16()
    found = CodeNorm(3).train()(u)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, batch_norm(u.float(), None, None, training=True))


@pytest.mark.parametrize("config", ENCODERS, ids=NAMES)
def test_by_default_nothing_is_normalised_and_nothing_is_added(config):
    assert not config.normalise_code
    assert not [name for name in made(config).state_dict() if "code_norm" in name]


@pytest.mark.parametrize("config", ENCODERS, ids=NAMES)
def test_a_density_is_not_normalised(config):
    text = (
        f"encoder '{config.name}' was asked for normalise_code = true and posterior = \"gaussian\", whose variances "
        'should not depend on the other images of a batch. Use posterior = "point" or "softmax", or leave '
        "normalise_code out"
    )
    with pytest.raises(PlanError) as caught:
        made(config, normalise_code=True, posterior="gaussian")
    assert str(caught.value) == text
