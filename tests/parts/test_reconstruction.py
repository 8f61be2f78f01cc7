"""Reconstructions: pixel metrics against torch, and the learned similarity's gradients and scale."""

from __future__ import annotations

import math

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError
from torch import nn
from torch.distributions import Bernoulli, Normal
from torch.nn import functional

from genprior.errors import PlanError
from genprior.parts import Borrowed, Critic, FeatureCritic, Sizes
from genprior_std.reconstruction.learned_similarity import LearnedSimilarity
from genprior_std.reconstruction.pixel import Pixel

SIZES = Sizes(image=(2, 4, 4), code=8, known=0, asked=0)
SHAPE = (3, 2, 4, 4)


def images(bound=1.0):
    return arrays(numpy.float64, SHAPE, elements=st.floats(-bound, bound)).map(torch.from_numpy)


def pixel(**given):
    return Pixel.Config(**given).make(SIZES)


def known(n, k=0):
    return torch.zeros(n, k, dtype=torch.float64)


def bernoulli(x, x_rec):
    return functional.binary_cross_entropy((x_rec + 1) / 2, (x + 1) / 2, reduction="none")


REFERENCE = {
    "squared": lambda x, x_rec: functional.mse_loss(x_rec, x, reduction="none"),
    "absolute": lambda x, x_rec: functional.l1_loss(x_rec, x, reduction="none"),
    "bernoulli": bernoulli,
    "gaussian": lambda x, x_rec: -Normal(x_rec, 0.3).log_prob(x),
}


@pytest.mark.parametrize("metric", REFERENCE)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(x=images(), x_rec=images(0.999))
def test_pixel_metrics_are_torchs(metric, x, x_rec):
    expected = REFERENCE[metric](x, x_rec).flatten(1)
    sigma = {"sigma": 0.3} if metric == "gaussian" else {}
    total = pixel(metric=metric, reduction="sum", **sigma)(x, x_rec, known(3))
    torch.testing.assert_close(total, expected.sum(1))
    torch.testing.assert_close(pixel(metric=metric, **sigma)(x, x_rec, known(3)), expected.mean(1))


@pytest.mark.parametrize("metric", ["squared", "absolute", "bernoulli"])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(x=images(), x_rec=images())
def test_distances_are_never_negative(metric, x, x_rec):
    error = pixel(metric=metric)(x.float(), x_rec.float(), known(3))
    assert (error >= 0).all()
    assert error.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_bernoulli_is_finite_at_saturated_pixels(dtype):
    x = torch.ones(SHAPE, dtype=torch.float32)
    x_rec = torch.full(SHAPE, -1, dtype=dtype, requires_grad=True)
    error = pixel(metric="bernoulli")(x, x_rec, known(3))
    assert error.tolist() == pytest.approx([-math.log(1e-6)] * 3, rel=1e-4)
    error.sum().backward()
    assert x_rec.grad.isfinite().all()
    assert (pixel(metric="bernoulli")(x, -x_rec, known(3)) < 1e-5).all()


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
def test_bernoulli_is_torchs_on_black_and_white_pixels(value):
    """In double precision, at p from the clamp to its mirror image."""
    x = torch.full(SHAPE, value, dtype=torch.float64)
    p = torch.linspace(1e-6, 1 - 1e-6, 96, dtype=torch.float64).reshape(SHAPE)
    error = pixel(metric="bernoulli", reduction="sum")(x, 2 * p - 1, known(3))
    log_p = Bernoulli(probs=p, validate_args=False).log_prob((x + 1) / 2)
    torch.testing.assert_close(error, -log_p.flatten(1).sum(1), rtol=1e-10, atol=0)


def test_bernoulli_passes_a_gradient_inside_the_clamp_alone():
    rec = torch.tensor([-1.2, -1.0, -1 + 1e-6, -1 + 4e-6, -0.5, 0.0, 0.5, 1 - 4e-6, 1 - 1e-6, 1.0, 1.2])
    x_rec = rec.double().reshape(-1, 1, 1, 1).requires_grad_()
    for value in (-1.0, 0.4, 1.0):
        error = Pixel.Config(metric="bernoulli").make(Sizes((1, 1, 1), 8, 0, 0))(
            torch.full_like(x_rec, value), x_rec, known(11)
        )
        (slope,) = torch.autograd.grad(error.sum(), x_rec, create_graph=True)
        assert (slope.flatten() != 0).tolist() == [3 <= i <= 7 for i in range(11)]
        (curvature,) = torch.autograd.grad(slope.sum(), x_rec)
        assert curvature.isfinite().all()
        assert (curvature.flatten() > 0).tolist() == [3 <= i <= 7 for i in range(11)]


def test_bernoulli_has_the_gradients_of_both_images_to_second_order():
    generator = torch.Generator().manual_seed(0)
    x, x_rec = (torch.rand(SHAPE, dtype=torch.float64, generator=generator) * 1.8 - 0.9 for _ in range(2))
    error = pixel(metric="bernoulli", reduction="sum")
    both = x.requires_grad_(), x_rec.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, x_rec: error(x, x_rec, known(3)), both)
    assert torch.autograd.gradgradcheck(lambda x, x_rec: error(x, x_rec, known(3)), both)


def test_bernoulli_hides_nothing_that_is_no_number():
    x_rec = torch.zeros(SHAPE)
    x_rec[1, 0, 0, 0] = math.nan
    x_rec.requires_grad_()
    error = pixel(metric="bernoulli")(torch.ones(SHAPE), x_rec, known(3))
    assert error.isnan().tolist() == [False, True, False]
    error.sum().backward()
    assert x_rec.grad.isnan().sum() == 1


def test_gaussian_may_be_negative_where_the_density_exceeds_one():
    x = torch.zeros(SHAPE, dtype=torch.float64)
    error = pixel(metric="gaussian", sigma=0.1, reduction="sum")(x, x, known(3))
    assert error.tolist() == pytest.approx([32 * math.log(0.1 * math.sqrt(2 * math.pi))] * 3)
    assert (error < 0).all()


@pytest.mark.parametrize("metric", ["squared", "bernoulli", "gaussian"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_pixel_gradients_are_right(metric, reduction):
    generator = torch.Generator().manual_seed(0)
    x, x_rec = (torch.rand(SHAPE, dtype=torch.float64, generator=generator) * 1.8 - 0.9 for _ in range(2))
    error = pixel(metric=metric, reduction=reduction)
    assert torch.autograd.gradcheck(lambda x_rec: error(x, x_rec, known(3)), x_rec.requires_grad_())


def test_pixel_settings_out_of_range_are_refused():
    for wrong in ({"metric": "cosine"}, {"reduction": "max"}, {"sigma": 0}, {"sigma": math.inf}, {"variance": "image"}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            Pixel.Config(**wrong)


@pytest.mark.parametrize("metric", ["squared", "absolute", "bernoulli"])
def test_a_learned_variance_of_no_gaussian_is_refused(metric):
    with pytest.raises(ValidationError) as caught:
        Pixel.Config(metric=metric, variance="channel")
    assert (
        f"variance = \"channel\" learns the sigma of metric 'gaussian'; metric '{metric}' has none. "
        'Set metric = "gaussian", or variance = "fixed"'
    ) in str(caught.value)


def test_a_learned_sigma_that_begins_below_its_floor_is_refused():
    Pixel.Config(metric="gaussian", sigma=0.0005)
    with pytest.raises(ValidationError) as caught:
        Pixel.Config(metric="gaussian", sigma=0.0005, variance="shared")
    assert (
        "a learned sigma stays above 0.001, and sigma = 0.0005 is its initial value. "
        'Set sigma above that, or variance = "fixed"'
    ) in str(caught.value)


class SmallCritic(FeatureCritic):
    """Two convolutions whose features can be scaled; a condition is added to the first."""

    name = "small"

    def __init__(self, config, sizes, norm=False, gain=1.0):
        super().__init__(config, sizes)
        torch.manual_seed(0)
        self.conv1 = nn.Conv2d(sizes.image[0], 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.conv2 = nn.Conv2d(4, 5, 4, stride=2, padding=1)
        self.told = nn.Linear(sizes.known, 4) if sizes.known else None
        self.gain = gain
        self.passes = 0

    @property
    def feature_layers(self):
        return ("conv1", "conv2")

    def features(self, x, known, layer):
        self.passes += 1
        h = self.norm(self.conv1(x))
        if self.told is not None:
            h = h + self.told(known)[:, :, None, None]
        return self.gain * (h if layer == "conv1" else self.conv2(h.tanh())).flatten(1)

    def trunk(self, x, known):
        return self.features(x, known, "conv2")

    @property
    def trunk_width(self):
        return 20

    def forward(self, x, known):
        return self.trunk(x, known).sum(1)


class Blind(Critic):
    """A critic without features."""

    name = "blind"

    def forward(self, x, known):
        return x.flatten(1).sum(1)


def similar(critic=None, sizes=SIZES, **given):
    critic = critic or SmallCritic(SmallCritic.Config(), sizes)
    return LearnedSimilarity.Config(**({"layer": "conv2"} | given)).make(sizes, image_critic=Borrowed(critic.double()))


def pair(n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(n, *SHAPE[1:], dtype=torch.float64, generator=generator) * 2 - 1 for _ in range(2))


def test_without_scale_it_is_the_mean_squared_error_of_the_named_features():
    x, x_rec = pair()
    critic = SmallCritic(SmallCritic.Config(), SIZES)
    error = similar(critic, layer="conv1", scale="none")(x, x_rec, known(6))
    expected = functional.mse_loss(critic.conv1(x_rec), critic.conv1(x), reduction="none").flatten(1).mean(1)
    torch.testing.assert_close(error, expected)


@pytest.mark.parametrize("norm", [False, True])
def test_features_a_thousand_times_larger_change_neither_value_nor_gradient(norm):
    x, x_rec = pair()
    x_rec.requires_grad_()
    results = []
    for gain in (1.0, 1000.0):
        error = similar(SmallCritic(SmallCritic.Config(), SIZES, norm=norm, gain=gain))(x, x_rec, known(6))
        results.append((error, *torch.autograd.grad(error.mean(), x_rec)))
    torch.testing.assert_close(results[0], results[1])
    assert results[0][1].abs().max() > 1e-6


class Flat(SmallCritic):
    """A critic whose features are the pixels themselves."""

    name = "flat"

    def features(self, x, known, layer):
        return x.flatten(1)


def test_predicting_the_mean_feature_has_error_one():
    x, _ = pair()
    x = x * torch.linspace(0.1, 30, x[0].numel(), dtype=torch.float64).reshape(x[0].shape) + 7
    mean = x.mean(0, keepdim=True).expand_as(x)
    error = similar(Flat(Flat.Config(), SIZES))(x, mean, known(6))
    assert error.mean().item() == pytest.approx(1)


@pytest.mark.parametrize("value", [0.0, 0.3])
@pytest.mark.parametrize("n", [1, 4])
def test_targets_without_variance_leave_the_error_finite(value, n):
    x = torch.full((n, *SHAPE[1:]), value, dtype=torch.float64)
    x_rec = (x + 0.5).requires_grad_()
    error = similar(Flat(Flat.Config(), SIZES))(x, x_rec, known(n))
    # By the definition: 0.25 over the mean square of the target, or over 1 if that is zero.
    assert error.tolist() == pytest.approx([0.25 / (value**2 or 1)] * n)
    error.sum().backward()
    assert x_rec.grad.isfinite().all()


@pytest.mark.parametrize("norm", [False, True])
def test_the_gradient_reaches_the_reconstruction_and_not_the_target(norm):
    x, x_rec = pair()
    x.requires_grad_()
    x_rec.requires_grad_()
    error = similar(SmallCritic(SmallCritic.Config(), SIZES, norm=norm))(x, x_rec, known(6))
    to_target, to_rec = torch.autograd.grad(error.sum(), [x, x_rec], allow_unused=True)
    assert to_target is None
    assert (to_rec.abs().flatten(1).sum(1) > 0).all()


def test_the_gradient_is_right_with_the_target_and_its_scale_held():
    x, x_rec = pair(3)
    error = similar(SmallCritic(SmallCritic.Config(), SIZES))
    assert torch.autograd.gradcheck(lambda x_rec: error(x, x_rec, known(3)), x_rec.requires_grad_())


def test_one_pass_shares_the_statistics_of_batch_normalisation():
    x, x_rec = pair()
    critic = SmallCritic(SmallCritic.Config(), SIZES, norm=True)
    error = similar(critic, layer="conv1", scale="none")(x, 0.1 * x_rec + 0.8, known(6))
    assert critic.passes == 1
    both = critic.conv1(torch.cat([0.1 * x_rec + 0.8, x]))
    mean, variance = both.mean((0, 2, 3), keepdim=True), both.var((0, 2, 3), correction=0, keepdim=True)
    f_rec, f = ((both - mean) / (variance + critic.norm.eps).sqrt()).chunk(2)
    torch.testing.assert_close(error, (f_rec - f).square().flatten(1).mean(1))


def test_a_perfect_reconstruction_has_no_error_and_what_is_known_is_told_of_both():
    sizes = SIZES._replace(known=3)
    x, _ = pair(3)
    told = torch.eye(3, dtype=torch.float64)
    error = similar(SmallCritic(SmallCritic.Config(), sizes), sizes)(x, x.clone(), told)
    assert torch.equal(error, torch.zeros(3, dtype=torch.float64))
    other = similar(SmallCritic(SmallCritic.Config(), sizes), sizes)(x, -x, told)
    assert not torch.allclose(other, similar(SmallCritic(SmallCritic.Config(), sizes), sizes)(x, -x, 5 * told.flip(0)))


def test_the_critic_is_borrowed_and_left_as_it_was():
    critic = SmallCritic(SmallCritic.Config(), SIZES).double()
    before = {name: parameter.clone() for name, parameter in critic.named_parameters()}
    error = similar(critic)
    x, x_rec = pair()
    torch.autograd.grad(error(x, x_rec.requires_grad_(), known(6)).sum(), x_rec)
    assert list(error.parameters()) == []
    assert error.state_dict() == {}
    for name, parameter in critic.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.grad is None
        assert parameter.requires_grad


def test_a_layer_that_the_critic_lacks_is_named_with_those_it_has():
    with pytest.raises(PlanError) as caught:
        similar(layer="conv3")
    assert str(caught.value) == (
        "reconstruction 'learned_similarity' compares layer 'conv3', which critic 'small' does not have; "
        "did you mean 'conv2'? Possible: conv1, conv2"
    )


def test_a_critic_without_features_is_refused():
    with pytest.raises(PlanError) as caught:
        similar(Blind(Blind.Config(), SIZES))
    assert str(caught.value) == (
        "reconstruction 'learned_similarity' compares features of the image critic; critic 'blind' has none. "
        "Use an image critic with features, or reconstruction 'pixel'"
    )
    assert LearnedSimilarity.Config().layer == "conv3"
