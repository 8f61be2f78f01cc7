"""Initialisation of a VampPrior: from noise or from training images, with as many pseudo-inputs as fit in memory."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn

import genprior
from genprior.data.batches import DeviceData
from genprior.errors import PlanError, RecipeError
from genprior.parts import Borrowed, ImageSet, Sizes
from genprior.runs.trainer import Trainer
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors import vampprior
from genprior_std.priors.vampprior import VampPrior

IMAGE = (1, 4, 4)
SIZES = Sizes(IMAGE, 2, 0, 0)


def encoder_of():
    torch.manual_seed(0)
    return MlpEncoder.Config(hidden=(8,), activation="tanh", posterior="gaussian").make(SIZES)


def prior_of(components, encoder=None, **settings):
    return VampPrior.Config(components=components, **settings).make(SIZES, encoder=Borrowed(encoder or encoder_of()))


def test_the_start_is_as_asked():
    """Mean and standard deviation of 32,000 numbers within 5 standard errors: refused at random below 1e-5."""
    torch.manual_seed(3)
    prior = prior_of(2000, mean=0.3, std=0.2)
    n = prior.pseudo_inputs.numel()
    assert prior.pseudo_inputs.shape == (2000, *IMAGE)
    assert prior.pseudo_inputs.mean().item() == pytest.approx(0.3, abs=5 * 0.2 / math.sqrt(n))
    assert prior.pseudo_inputs.std().item() == pytest.approx(0.2, abs=5 * 0.2 / math.sqrt(2 * n))


def training_images(n, seed=1):
    """A data set of n black, white and grey images, all different."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.tensor([0, 127, 255], dtype=torch.uint8)[torch.randint(3, (n, *IMAGE), generator=generator)]
    images[:, 0, 0, 0] = torch.arange(n) + 20
    return ImageSet(images, torch.zeros(n, dtype=torch.int64), ())


def draw_from(image_set):
    return DeviceData(image_set, "cpu", batch=1, seed=0).draw


def test_it_starts_from_different_training_images_with_a_little_noise():
    """The noise, mirrored at the ends of the range, is |N(0, 0.02^2)| on black and white, N(0, 0.02^2) elsewhere.

    Standard deviations of some thousand numbers within 5 standard errors: refused at random below 1e-5.
    """
    data = training_images(200)
    prior = prior_of(150, start="images")
    torch.manual_seed(4)
    prior.begin(draw_from(data))
    x = data.images.float() / 127.5 - 1
    w = prior.pseudo_inputs.detach()
    nearest = torch.cdist(w.flatten(1), x.flatten(1)).argmin(1)
    assert len(set(nearest.tolist())) == 150  # different images, and not the first ones
    assert nearest.max() >= 150
    noise = w - x[nearest]
    assert noise.abs().max() < 0.02 * 6
    ends = x[nearest].abs() == 1
    for part in (noise[ends], noise[~ends]):
        error = 0.02 / math.sqrt(2 * len(part))
        assert part.square().mean().sqrt().item() == pytest.approx(0.02, abs=5 * error)
    assert (noise * x[nearest])[ends].max() <= 0  # inwards


def test_all_pixels_of_a_start_from_images_learn():
    prior = prior_of(20, start="images")
    prior.begin(draw_from(training_images(20)))
    assert prior.pseudo_inputs.abs().max() < 1
    (grad,) = torch.autograd.grad(prior.log_prob(torch.randn(5, 2), torch.zeros(5, 0)).sum(), prior.pseudo_inputs)
    assert (grad != 0).all()


def test_a_random_start_needs_no_images():
    prior = prior_of(3)
    before = prior.pseudo_inputs.detach().clone()
    prior.begin(lambda n: pytest.fail("no images were needed"))
    assert torch.equal(prior.pseudo_inputs, before)


def test_a_run_starts_from_its_images_the_same_each_time(tiny, tmp_path):
    settings = [
        'model.prior={name="vampprior",components=30,start="images"}',
        'model.encoder.posterior="gaussian"',
    ]
    started = []
    for _ in range(2):
        trainer = Trainer(genprior.load_recipe(tiny, rows=["AAE"], settings=settings).plans[0], 0, tmp_path)
        trainer.prepare()
        started.append(trainer.model.prior.pseudo_inputs.detach().clone())
    assert torch.equal(*started)
    x = trainer.images("train").images.float() / 127.5 - 1
    nearest = torch.cdist(started[0].flatten(1), x.flatten(1)).min(1)
    assert len(set(nearest.indices.tolist())) == 30
    assert nearest.values.max() < 0.02 * 2 * math.sqrt(64)  # 64 pixels of noise; digits lie farther apart than that


def test_the_first_pseudo_inputs_are_images_in_order():
    prior = prior_of(5, std=2.0)
    shown = prior.first_pseudo_inputs(3)
    assert torch.equal(shown, prior.pseudo_inputs[:3].clamp(-1, 1)) and (prior.pseudo_inputs[:3].abs() > 1).any()
    assert prior.first_pseudo_inputs(100).shape == (5, *IMAGE)


def test_more_pseudo_inputs_than_images_to_start_from_are_refused():
    prior = prior_of(30, start="images")
    with pytest.raises(PlanError) as caught:
        prior.begin(draw_from(training_images(20)))
    said = str(caught.value)
    assert said.startswith(
        "prior 'vampprior' has components = 30 and start = \"images\", so it needs as many different training images: "
        "30 different training images are needed, but the data set has 20"
    )
    assert said.endswith('. Set components to fewer, or start = "random"')


def test_more_pseudo_inputs_than_memory_are_refused_before_any_is_made(monkeypatch):
    monkeypatch.setattr(vampprior.os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**20}.__getitem__)
    monkeypatch.setattr(torch, "empty", lambda *args, **kwargs: pytest.fail("memory was asked for"))
    with pytest.raises(PlanError) as caught:
        prior_of(10**9, nn.Identity())
    assert str(caught.value) == (
        "prior 'vampprior' has components = 1000000000; so many pseudo-inputs of 1 x 4 x 4 need 238.4 GiB with their "
        "gradient and the moments of Adam, and this machine has 4.0 GiB of memory. At most 16777216 would fit; "
        "the paper has 500 to 1000, so set components to about that"
    )


def test_this_machine_has_no_memory_for_a_million_million_pseudo_inputs():
    with pytest.raises(PlanError, match="components = 1000000000000; so many pseudo-inputs of 1 x 4 x 4 need"):
        prior_of(10**12, nn.Identity())


def test_a_system_that_does_not_tell_its_memory_is_no_obstacle(monkeypatch):
    monkeypatch.delattr(vampprior.os, "sysconf")
    assert prior_of(3).pseudo_inputs.shape == (3, *IMAGE)


@pytest.mark.parametrize(
    "settings", [{"components": 0}, {"std": 0.0}, {"mean": 1.5}, {"std": math.inf}, {"start": "data"}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValidationError, match=next(iter(settings))):
        VampPrior.Config(**settings)


def test_a_recipe_with_no_pseudo_input_is_refused_in_words(tiny):
    with pytest.raises(RecipeError) as caught:
        genprior.load_recipe(tiny, rows=["AAE"], settings=['model.prior={name="vampprior",components=0}'])
    (line,) = (line for line in str(caught.value).splitlines() if "components" in line)
    assert "model.prior" in line and "greater than or equal to 1" in line
