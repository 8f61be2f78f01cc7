"""The exemplar prior: its density and leave-one-out against a loop, its exemplars, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch

from genprior.data.batches import DeviceData
from genprior.data.images import images_to_float
from genprior.errors import PlanError
from genprior.parts import Borrowed, ImageSet, Sizes
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.exemplar import Exemplar

IMAGE = (1, 4, 4)
SIZES = Sizes(IMAGE, 2, 0, 0)


def training_images(n, seed=1):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (n, *IMAGE), dtype=torch.uint8, generator=generator)
    return ImageSet(images, torch.zeros(n, dtype=torch.int64), ())


def draw_from(image_set):
    return DeviceData(image_set, "cpu", batch=1, seed=0).draw


def encoder_of(batch_norm=False):
    torch.manual_seed(0)
    return MlpEncoder.Config(hidden=(8,), posterior="gaussian", batch_norm=batch_norm).make(SIZES)


def prior_of(n, encoder=None, **settings):
    torch.manual_seed(1)
    prior = Exemplar.Config(**settings).make(SIZES, encoder=Borrowed(encoder or encoder_of()))
    prior.begin(draw_from(training_images(n)))
    return prior


def by_a_loop(means, variance, z, left_out=None):
    """Log p of each code, one exemplar at a time."""
    result = []
    for i, code in enumerate(z.tolist()):
        total, count = 0.0, 0
        for k, mean in enumerate(means.tolist()):
            if left_out is None or k != left_out[i]:
                square = sum((a - b) ** 2 for a, b in zip(code, mean, strict=True))
                total += math.exp(-0.5 * square / variance) / (2 * math.pi * variance)
                count += 1
        result.append(math.log(total / count))
    return torch.tensor(result)


def none(n):
    return torch.zeros(n, 0)


@pytest.mark.parametrize("training", [True, False])
def test_the_density_and_leaving_one_out_are_those_of_a_loop(training):
    encoder = encoder_of()
    prior = prior_of(9, encoder, variance=0.3).train(training)
    means = encoder(images_to_float(training_images(9).images), none(9)).mean
    z = 0.4 * torch.randn(20, 2)
    index = torch.randint(9, (20,))
    assert torch.allclose(prior.log_prob(z, none(20)), by_a_loop(means, 0.3, z), atol=1e-4)
    without = prior.log_prob_without(z, none(20), index)
    assert torch.allclose(without, by_a_loop(means, 0.3, z, index.tolist()), atol=1e-4)


def test_an_image_that_is_no_exemplar_is_in_no_mixture():
    prior = prior_of(30, exemplars=5)
    kept = prior.index.value.tolist()
    assert len(set(kept)) == 5
    assert torch.equal(prior.images.value, training_images(30).images[kept])
    other = next(i for i in range(30) if i not in kept)
    z, index = torch.randn(4, 2), torch.full((4,), other)
    assert torch.allclose(prior.log_prob_without(z, none(4), index), prior.log_prob(z, none(4)))


def test_exemplar_k_is_training_image_k():
    prior = prior_of(12)
    assert prior.index.value.tolist() == list(range(12))
    assert torch.equal(prior.images.value, training_images(12).images)


def test_the_mean_over_subsets_is_the_whole_mixture():
    """4,000 estimates of the density within 5 standard errors: refused at random below 1e-5."""
    prior = prior_of(6, subset=2, variance=0.2)
    z = torch.zeros(1, 2)
    with torch.no_grad():
        estimates = torch.stack([prior.train().log_prob(z, none(1)).exp() for _ in range(4000)])
        whole = prior.eval().log_prob(z, none(1)).exp()
    assert estimates.unique().numel() == 15  # pairs of six
    assert estimates.mean().item() == pytest.approx(whole.item(), abs=5 * estimates.std().item() / math.sqrt(4000))


def test_a_subset_of_two_without_one_is_the_other():
    prior = prior_of(2, variance=0.5)
    z = torch.randn(6, 2)
    means = prior.encoder(images_to_float(prior.images.value), none(2)).mean
    index = torch.tensor([0, 1, 0, 1, 0, 1])
    expected = torch.distributions.Normal(means[1 - index], math.sqrt(0.5)).log_prob(z).sum(1)
    assert torch.allclose(prior.log_prob_without(z, none(6), index), expected, atol=1e-5)


def test_densities_and_samples_have_a_gradient_in_variance_and_encoder():
    encoder = encoder_of()
    prior = prior_of(7, encoder)
    weights = [prior.log_variance, *encoder.parameters()]
    for value in (prior.log_prob_without(torch.randn(3, 2), none(3), torch.arange(3)), prior.sample(none(5))):
        gradients = torch.autograd.grad(value.square().sum(), weights, allow_unused=True)
        assert gradients[0].abs() > 0
        assert any(gradient is not None and gradient.abs().max() > 0 for gradient in gradients[1:])


def test_evaluation_follows_the_encoders_weights():
    encoder = encoder_of()
    prior = prior_of(7, encoder).eval()
    z = torch.randn(3, 2)
    with torch.no_grad():
        first = prior.log_prob(z, none(3))
        encoder.to_code.bias.add_(1)
        assert not torch.allclose(prior.log_prob(z, none(3)), first)


def test_running_averages_of_the_encoder_stay():
    encoder = encoder_of(batch_norm=True)
    prior = prior_of(7, encoder)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    prior.train().log_prob(torch.randn(3, 2), none(3))
    prior.sample(none(4))
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


def test_a_state_brings_the_exemplars_to_a_prior_that_has_none():
    first = prior_of(7)
    second = Exemplar.Config().make(SIZES, encoder=Borrowed(encoder_of()))
    z = torch.randn(3, 2)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    assert torch.allclose(second.log_prob(z, none(3)), expected, atol=1e-6)  # without exemplars
    second.load_state_dict({key: value.clone() for key, value in first.state_dict().items()})
    assert torch.equal(first.eval().log_prob(z, none(3)), second.eval().log_prob(z, none(3)))


def test_a_single_training_image_and_too_few_are_refused():
    with pytest.raises(PlanError) as caught:
        prior_of(1)
    assert str(caught.value) == (
        "prior 'exemplar' needs at least 2 training images with their index, since each is left out of the density of "
        "its own code; it got 1. Use more images, or prior 'gaussian'"
    )
    with pytest.raises(PlanError) as caught:
        prior_of(3, exemplars=4)
    assert str(caught.value) == (
        "prior 'exemplar' has exemplars = 4: 4 different training images are needed, but the data set has 3; "
        "1 to 3 are possible. Set exemplars to fewer"
    )


def test_more_exemplars_than_memory_are_refused():
    with pytest.raises(PlanError) as caught:
        Exemplar.Config(exemplars=10**12).make(Sizes((3, 64, 64), 2, 0, 0), encoder=Borrowed(encoder_of()))
    text = str(caught.value)
    assert text.startswith(
        "prior 'exemplar' has exemplars = 1000000000000; so many images would take 57,220,459.0 GiB, "
    )
    assert text.endswith("use fewer or smaller images. Set exemplars to fewer")


def test_a_condition_is_refused():
    with pytest.raises(PlanError) as caught:
        Exemplar.Config().make(Sizes(IMAGE, 2, 3, 3), encoder=Borrowed(encoder_of()))
    assert str(caught.value) == (
        "prior 'exemplar' encodes training images without what is known about them; this condition tells the encoder 3 "
        "numbers about each image. Use conditioner 'none', or a prior that does not encode ('gaussian', "
        "'code_generator')"
    )
