"""The autoregressive decoder alone: its loss, its likelihood, its samples, what it refuses."""

from __future__ import annotations

import itertools

import numpy
import pytest
import torch

import genprior
from genprior.engine.build import build_model
from genprior.errors import PlanError
from genprior.parts import Batch, Condition, Sizes
from genprior.testing import check_decoder, check_model
from genprior_std.conditioners.label import Label
from genprior_std.conditioners.none import NoCondition
from genprior_std.models.pixelcnn import PixelConvolutionalNetwork
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.pixelcnn_decoder import PixelCnnDecoder

from .small_autoregressive import INFO, Independent, batch_of, bernoulli_by_hand, moved_by, phase_of


def config(**changes):
    parts = {"decoder": Independent.Config(), "conditioner": NoCondition.Config()}
    return PixelConvolutionalNetwork.Config(**{**parts, **changes})


LABELLED = {"decoder": Independent.Config(conditional=True), "conditioner": Label.Config()}


def test_the_helper_is_a_decoder():
    check_decoder(Independent.Config(), image=INFO.image)


@pytest.mark.parametrize("changes", [{}, LABELLED], ids=["none", "label"])
def test_the_contract_of_a_model(changes):
    check_model(config(**changes), INFO)


def test_the_decoder_is_made_for_no_code_and_moves_alone():
    model = build_model(config(), INFO, 0)
    assert model.decoder.sizes == Sizes(INFO.image, 0, 0, 0, classes=len(INFO.classes))
    assert [phase.name for phase in model.phases()] == ["likelihood"]
    assert moved_by(model, phase_of(model, "likelihood"), batch_of()) == {"decoder"}


def test_the_loss_is_nats_of_a_sub_pixel_and_the_likelihood_nats_of_an_image():
    model, batch = build_model(config(), INFO, 0), batch_of()
    by_hand = bernoulli_by_hand(batch.x, model.decoder.bias.detach().expand(6, -1))
    torch.testing.assert_close(model.log_likelihood(batch).double(), by_hand, atol=1e-5, rtol=1e-5)
    loss = model.likelihood(batch)["decoder"]
    assert float(loss.detach()) == pytest.approx(float(-by_hand.mean()) / 12, rel=1e-5)


def test_the_likelihoods_of_all_images_sum_to_one():
    info = INFO._replace(image=(1, 2, 3))
    model = build_model(config(), info, 0)
    x = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=6))).view(-1, 1, 2, 3)
    y = torch.zeros(len(x), dtype=torch.int64)
    assert float(model.log_likelihood(Batch(x, y)).detach().double().exp().sum()) == pytest.approx(1, abs=1e-5)


def test_a_condition_reaches_likelihood_and_images():
    model, batch = build_model(config(**LABELLED), INFO, 0), batch_of()
    logits = model.decoder.weight.detach()[:, batch.y].T + model.decoder.bias.detach()
    torch.testing.assert_close(
        model.log_likelihood(batch).double(), bernoulli_by_hand(batch.x, logits), atol=1e-4, rtol=1e-4
    )
    with torch.no_grad():
        model.decoder.weight.copy_(100 * torch.tensor([1.0, -1.0, 1.0]))
        images = model.generate(model.condition(torch.zeros(3), torch.tensor([0, 1, 2])))
    assert images.flatten(1)[:, 0].tolist() == [1, -1, 1] and bool((images[1] == -1).all())


def test_it_has_no_code():
    model, batch = build_model(config(), INFO, 0), batch_of()
    assert model.encode(batch) is None and model.reconstruct(batch) is None and model.clusters(batch) is None
    assert model.log_likelihood_given_code(batch) is None
    assert model.generate(Condition(torch.zeros(4, 0), torch.zeros(4, 0))).shape == (4, *INFO.image)


def test_a_decoder_without_a_likelihood_is_refused():
    with pytest.raises(PlanError) as caught:
        build_model(config(decoder=MlpDecoder.Config()), INFO, 0)
    assert str(caught.value) == (
        "model 'pixelcnn' needs a decoder with log_prob, an AutoregressiveDecoder; decoder 'mlp' makes images and "
        "gives no likelihood of them. Use decoder = { name = \"pixelcnn\" }, or model 'aae'"
    )


GREY = (
    "model 'pixelcnn' has a Bernoulli likelihood, which is for black and white pixels, and these training images have "
    'grey ones. Set binarise = "dynamic" or "static" in [data] (mnist, fashion_mnist and digits have it). Or set '
    'distribution = "discretised_logistic" in the decoder\'s table, which is for 256 levels'
)


def test_a_bernoulli_likelihood_of_grey_images_is_refused():
    small = {"width": 2, "head_width": 2, "blocks": 0, "first_kernel": 3}
    with pytest.raises(PlanError) as caught:
        build_model(config(decoder=PixelCnnDecoder.Config(**small)), INFO, 0)
    assert str(caught.value) == GREY
    build_model(config(decoder=PixelCnnDecoder.Config(**small)), INFO._replace(binary=True), 0)
    for distribution in ("softmax", "discretised_logistic"):
        build_model(config(decoder=PixelCnnDecoder.Config(**small, distribution=distribution)), INFO, 0)


@pytest.mark.parametrize("form", ["bernoulli", "softmax", "discretised_logistic"])
def test_a_decoder_states_the_pixels_of_its_likelihood(form):
    """It gives two unequal grey images one likelihood where, and only where, it says that pixels are black or white."""
    settings = PixelCnnDecoder.Config(width=2, head_width=2, blocks=0, first_kernel=3, distribution=form)
    decoder = PixelCnnDecoder(settings, Sizes((1, 4, 4), 0, 0, 0))
    bright = torch.full((1, 1, 4, 4), 0.5)
    with torch.no_grad():
        one, other = (decoder.log_prob(x, bright.new_empty(1, 0), bright.new_empty(1, 0)) for x in (bright, bright / 2))
    assert bool(one == other) == (PixelCnnDecoder.likelihood_of(settings) == "binary")


def test_a_run_of_colour_images_with_averaged_weights_is_read_back(tmp_path):
    """The masks of colours are in no checkpoint, so the averages must not hold them either."""
    pixels = numpy.random.default_rng(0).integers(0, 256, (16, 3, 4, 4), dtype=numpy.uint8)
    numpy.savez(tmp_path / "own.npz", images=pixels)
    recipe = tmp_path / "colours.toml"
    recipe.write_text(
        f"""
title = "colours"
[run]
steps = 3
batch = 4
ema = 0.9
[data]
name = "arrays"
path = "{(tmp_path / "own.npz").as_posix()}"
test_fraction = 0.25
size = 4
[optimiser.default]
lr = 1e-2
[model]
name = "pixelcnn"
decoder = {{ name = "pixelcnn", width = 3, head_width = 3, blocks = 1, first_kernel = 3, distribution = "softmax" }}
conditioner = {{ name = "none" }}
"""
    )
    genprior.train(genprior.load_recipe(recipe), out=tmp_path / "runs", device="cpu")
    run = genprior.load_run(tmp_path / "runs" / "base" / "seed-0")
    images = run.sample(2)
    assert images.shape == (2, 3, 4, 4) and torch.equal(images, run.sample(2))
    masked = run.model.decoder.layers[0].horizontal
    assert masked.mask is not None and (masked.mask == 0).any()
