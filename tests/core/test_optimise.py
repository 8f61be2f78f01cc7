"""Optimisers and learning rates against torch's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from genprior.ema import AveragedWeights
from genprior.optimise import OptimiserConfig, ScheduleConfig, learning_rate, make_optimiser


def rates(schedule, steps=20):
    return [learning_rate(OptimiserConfig(lr=0.5, schedule=schedule), step, steps) for step in range(steps)]


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
        (ScheduleConfig(name="constant"), lambda o: torch.optim.lr_scheduler.ConstantLR(o, factor=1)),
        (
            ScheduleConfig(name="linear", final=0.2),
            lambda o: torch.optim.lr_scheduler.LinearLR(o, start_factor=1.0, end_factor=0.2, total_iters=20),
        ),
        (
            ScheduleConfig(name="cosine", final=0.1),
            lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=20, eta_min=0.05),
        ),
        (
            ScheduleConfig(name="step", factor=0.5, every=6),
            lambda o: torch.optim.lr_scheduler.StepLR(o, step_size=6, gamma=0.5),
        ),
    ],
)
def test_schedules_equal_torch(ours, theirs):
    assert rates(ours) == pytest.approx(torch_rates(theirs))


def test_warmup_rises_linearly():
    assert rates(ScheduleConfig(warmup=4))[:5] == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5])


@pytest.mark.parametrize("name", ["adam", "sgd", "rmsprop"])
def test_optimisers_equal_the_single_tensor_ones_of_torch(name):
    config = OptimiserConfig(name=name, lr=0.01, momentum=0.9, weight_decay=0.1)
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
