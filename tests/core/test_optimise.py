"""Optimisers and learning rates against torch's own."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from genprior.engine.ema import AveragedWeights
from genprior.engine.optimise import learning_rate, make_optimiser
from genprior.recipe.optimiser import (
    AdamConfig,
    AdamNormGradConfig,
    ConstantSchedule,
    CosineSchedule,
    LinearSchedule,
    OptimiserConfig,
    PiecewiseSchedule,
    ScheduleConfig,
    StepSchedule,
)


def rates(schedule, steps=20):
    return [learning_rate(AdamConfig(lr=0.5, schedule=schedule), step, steps) for step in range(steps)]


def torch_rates(make, steps=20):
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler, found = make(optimiser), []
    for _ in range(steps):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ConstantSchedule(), lambda o: torch.optim.lr_scheduler.ConstantLR(o, factor=1)),
        (
            LinearSchedule(final=0.2),
            lambda o: torch.optim.lr_scheduler.LinearLR(o, start_factor=1.0, end_factor=0.2, total_iters=20),
        ),
        (
            CosineSchedule(final=0.1),
            lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=20, eta_min=0.05),
        ),
        (
            StepSchedule(factor=0.5, every=6),
            lambda o: torch.optim.lr_scheduler.StepLR(o, step_size=6, gamma=0.5),
        ),
        (
            PiecewiseSchedule(at=(3, 9), factors=(0.7, 0.1)),
            lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: 1 if step < 3 else 0.7 if step < 9 else 0.1),
        ),
    ],
)
def test_schedules_equal_torch(ours, theirs):
    assert rates(ours) == pytest.approx(torch_rates(theirs))


@pytest.mark.parametrize(
    ("at", "factors"), [((3,), ()), ((3, 3), (0.1, 0.2)), ((5, 3), (0.1, 0.2)), ((0,), (0.1,)), ((), (0.5,))]
)
def test_a_piecewise_schedule_needs_rising_steps_and_a_factor_for_each(at, factors):
    with pytest.raises(ValidationError, match="`at` needs increasing steps from 1 on, and `factors` one number"):
        PiecewiseSchedule(at=at, factors=factors)


def test_adam_norm_grad_is_adam_on_directions():
    """Each tensor's gradient is divided by its own norm, so that scaling a gradient changes nothing."""
    shapes = ((3, 2), (4,))
    gradients = [[torch.sin(torch.arange(float(math.prod(s))) + 7 * t).view(s) for s in shapes] for t in range(5)]
    ours, theirs = ([nn.Parameter(torch.ones(s)) for s in shapes] for _ in range(2))
    config = AdamNormGradConfig(lr=0.01, betas=(0.9, 0.99), eps=1e-4, weight_decay=0.1)
    optimiser = make_optimiser(config, ours)
    plain = torch.optim.Adam(theirs, 0.01, (0.9, 0.99), 1e-4, weight_decay=0.1, foreach=False)
    for step in gradients:
        for scale, mine, other, gradient in zip((100.0, 1e-3), ours, theirs, step, strict=True):
            mine.grad, other.grad = scale * gradient, gradient / gradient.norm()
        optimiser.step()
        plain.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)  # 1e-7 beside a norm of 2e-3


def test_warmup_rises_linearly():
    assert rates(ConstantSchedule(warmup=4))[:5] == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5])


@pytest.mark.parametrize("name", ["adam", "sgd", "rmsprop"])
def test_optimisers_equal_the_single_tensor_ones_of_torch(name):
    own = {} if name == "adam" else {"momentum": 0.9}
    config = OptimiserConfig.methods[name](lr=0.01, weight_decay=0.1, **own)
    plain = {
        "adam": lambda p: torch.optim.Adam(p, 0.01, (0.5, 0.999), weight_decay=0.1, foreach=False),
        "sgd": lambda p: torch.optim.SGD(p, 0.01, 0.9, weight_decay=0.1, foreach=False),
        "rmsprop": lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.9, weight_decay=0.1, foreach=False),
    }[name]
    ours, theirs = (nn.Parameter(torch.arange(1.0, 7.0)) for _ in range(2))
    for optimiser, parameter in ((make_optimiser(config, [ours]), ours), (plain([theirs]), theirs)):
        for step in range(5):
            parameter.grad = torch.sin(parameter.detach() + step)
            optimiser.step()
    torch.testing.assert_close(ours, theirs)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30), st.floats(0.1, 0.999))
def test_the_average_is_the_normalised_exponential_sum(values, decay):
    module = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        module.weight.fill_(123.0)  # initial weights are forgotten from the first step on
    average = AveragedWeights({"decoder": module}, decay)
    for step, value in enumerate(values):
        with torch.no_grad():
            module.weight.fill_(value)
        average.update(step)
    weights = [decay ** (len(values) - 1 - t) for t in range(len(values))]
    expected = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
    assert average.tensors["decoder.weight"].item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_averages_include_batch_statistics_and_are_only_lent_to_the_module():
    module = nn.BatchNorm1d(2)
    average, means = AveragedWeights({"decoder": module}, 0.5), []
    for step in range(3):
        module(torch.randn(8, 2) + step)
        average.update(step)
        means.append(module.running_mean.clone())
    live = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with average.in_place():
        torch.testing.assert_close(module.running_mean, (means[0] + 2 * means[1] + 4 * means[2]) / 7)
    assert all(torch.equal(tensor, live[name]) for name, tensor in module.state_dict().items())
    assert average.tensors["decoder.num_batches_tracked"] == 3


def test_averages_may_be_lent_within_a_block_that_lends_them():
    module = nn.Linear(1, 1, bias=False)
    average = AveragedWeights({"decoder": module}, 0.5)
    with torch.no_grad():
        module.weight.fill_(7.0)
    averaged = average.tensors["decoder.weight"].item()
    with average.in_place():
        with average.in_place():
            assert module.weight.item() == averaged
        assert module.weight.item() == averaged
    assert module.weight.item() == 7.0


def test_averages_keep_what_a_checkpoint_keeps_and_nothing_else():
    """A mask that follows from the settings is a buffer that is not saved, and would be refused when read back."""
    module = nn.Linear(2, 1)
    module.register_buffer("mask", torch.ones(2), persistent=False)
    module.register_buffer("count", torch.zeros(1))
    average = AveragedWeights({"decoder": module}, 0.5)
    assert set(average.tensors) == {f"decoder.{name}" for name in module.state_dict()}


def test_a_method_has_only_the_settings_that_it_uses():
    """An unused setting cannot be given: each one of a method changes the optimiser of torch, or the rates."""
    for name, method in OptimiserConfig.methods.items():
        used = make_optimiser(method(), [nn.Parameter(torch.zeros(1))]).defaults.keys()
        assert method.model_fields.keys() - {"name", "schedule"} <= used, name
    others = {"final": 0.5, "factor": 0.3, "every": 3, "at": (2,), "factors": (0.2,)}
    for name, method in ScheduleConfig.methods.items():
        own = {key: value for key, value in others.items() if key in method.model_fields}
        changed = {"at": others["at"], "factors": others["factors"]} if "at" in own else own
        assert not own or rates(method(**changed)) != rates(method()), name


@pytest.mark.parametrize("betas", [(1.0, 0.9), (0.5, 1.0), (-0.1, 0.9), (0.5, math.nan)])
def test_betas_outside_of_their_range_are_refused(betas):
    with pytest.raises(ValidationError, match="betas"):
        AdamConfig(betas=betas)


def test_the_optimiser_of_no_method_is_refused():
    with pytest.raises(TypeError, match="OptimiserConfig is not a method; use one of adam, adam_norm_grad, sgd, rmspr"):
        make_optimiser(OptimiserConfig(), [nn.Parameter(torch.zeros(1))])
