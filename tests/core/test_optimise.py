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
from genprior_std.optimisers.adam import Adam
from genprior_std.optimisers.adam_norm_grad import AdamNormGrad
from genprior_std.optimisers.adamw import AdamW
from genprior_std.optimisers.muon import Muon
from genprior_std.optimisers.rmsprop import Rmsprop
from genprior_std.optimisers.sgd import Sgd
from genprior_std.parts import PARTS
from genprior_std.schedules.constant import Constant
from genprior_std.schedules.cosine import Cosine
from genprior_std.schedules.linear import Linear
from genprior_std.schedules.piecewise import Piecewise
from genprior_std.schedules.step import Step


def holding(*parameters):
    """A module that has these parameters, under the names 0, 1, ..."""
    return nn.ParameterList(parameters)


def rates(schedule, steps=20):
    return [learning_rate(Adam.Config(lr=0.5, schedule=schedule), step, steps) for step in range(steps)]


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
        (Constant.Config(), lambda o: torch.optim.lr_scheduler.ConstantLR(o, factor=1)),
        (
            Linear.Config(final=0.2),
            lambda o: torch.optim.lr_scheduler.LinearLR(o, start_factor=1.0, end_factor=0.2, total_iters=20),
        ),
        (
            Cosine.Config(final=0.1),
            lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=20, eta_min=0.05),
        ),
        (
            Step.Config(factor=0.5, every=6),
            lambda o: torch.optim.lr_scheduler.StepLR(o, step_size=6, gamma=0.5),
        ),
        (
            Piecewise.Config(at=(3, 9), factors=(0.7, 0.1)),
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
        Piecewise.Config(at=at, factors=factors)


def test_adam_norm_grad_is_adam_on_directions():
    """Each tensor's gradient is divided by its own norm, so that scaling a gradient changes nothing."""
    shapes = ((3, 2), (4,))
    gradients = [[torch.sin(torch.arange(float(math.prod(s))) + 7 * t).view(s) for s in shapes] for t in range(5)]
    ours, theirs = ([nn.Parameter(torch.ones(s)) for s in shapes] for _ in range(2))
    config = AdamNormGrad.Config(lr=0.01, betas=(0.9, 0.99), eps=1e-4, weight_decay=0.1)
    optimiser = make_optimiser(config, holding(*ours))
    plain = torch.optim.Adam(theirs, 0.01, (0.9, 0.99), 1e-4, weight_decay=0.1, foreach=False)
    for step in gradients:
        for scale, mine, other, gradient in zip((100.0, 1e-3), ours, theirs, step, strict=True):
            mine.grad, other.grad = scale * gradient, gradient / gradient.norm()
        optimiser.step()
        plain.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)  # 1e-7 beside a norm of 2e-3


def test_warmup_rises_linearly():
    assert rates(Constant.Config(warmup=4))[:5] == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5])


@pytest.mark.parametrize(
    ("part", "own", "plain"),
    [
        (Adam, {}, lambda p: torch.optim.Adam(p, 0.01, (0.5, 0.999), weight_decay=0.1, foreach=False)),
        (
            AdamW,
            {"betas": (0.8, 0.99), "eps": 1e-3},
            lambda p: torch.optim.AdamW(p, 0.01, (0.8, 0.99), 1e-3, weight_decay=0.1, foreach=False),
        ),
        (Sgd, {"momentum": 0.9}, lambda p: torch.optim.SGD(p, 0.01, 0.9, weight_decay=0.1, foreach=False)),
        (
            Rmsprop,
            {"momentum": 0.9, "eps": 1e-3},
            lambda p: torch.optim.RMSprop(p, 0.01, eps=1e-3, momentum=0.9, weight_decay=0.1, foreach=False),
        ),
    ],
)
def test_optimisers_equal_the_single_tensor_ones_of_torch(part, own, plain):
    config = part.Config(lr=0.01, weight_decay=0.1, **own)
    ours, theirs = (nn.Parameter(torch.arange(1.0, 7.0)) for _ in range(2))
    for optimiser, parameter in ((make_optimiser(config, holding(ours)), ours), (plain([theirs]), theirs)):
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
    for part in (Adam, AdamNormGrad, AdamW, Rmsprop, Sgd):
        used = make_optimiser(part.Config(), holding(nn.Parameter(torch.zeros(1)))).defaults.keys()
        assert part.Config.model_fields.keys() - {"name", "schedule"} <= used, part.name
    others = {"final": 0.5, "factor": 0.3, "every": 3, "at": (2,), "factors": (0.2,)}
    for part in (Constant, Cosine, Linear, Piecewise, Step):
        own = {key: value for key, value in others.items() if key in part.Config.model_fields}
        changed = {"at": others["at"], "factors": others["factors"]} if "at" in own else own
        assert not own or rates(part.Config(**changed)) != rates(part.Config()), part.name


@pytest.mark.parametrize("betas", [(1.0, 0.9), (0.5, 1.0), (-0.1, 0.9), (0.5, math.nan)])
def test_betas_outside_of_their_range_are_refused(betas):
    with pytest.raises(ValidationError, match="betas"):
        Adam.Config(betas=betas)


def test_adam_and_a_constant_rate_are_meant_by_tables_without_a_name():
    assert [part.name for part in PARTS if part.is_default] == ["adam", "constant"]


# ---------------------------------------------------------------------------------------------------------------------
# Muon
# ---------------------------------------------------------------------------------------------------------------------


def muon_and_torch(shapes, config, steps=5):
    """Parameters after steps of Muon here, and of torch.optim.Muon on the same weights as matrices."""
    starts = [torch.randn(shape, generator=torch.Generator().manual_seed(3)) for shape in shapes]
    ours = [nn.Parameter(start.clone()) for start in starts]
    theirs = [nn.Parameter(start.flatten(1).clone()) for start in starts]
    optimiser = make_optimiser(config, holding(*ours))
    reference = torch.optim.Muon(
        theirs, config.lr, config.weight_decay, momentum=config.momentum, adjust_lr_fn="match_rms_adamw"
    )
    for step in range(steps):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.sin(3 * mine.detach() + step)
            other.grad = mine.grad.flatten(1).clone()
        optimiser.step()
        reference.step()
    return [each.detach().flatten(1) for each in ours], [each.detach() for each in theirs]


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon is of PyTorch 2.9 and later")
@pytest.mark.parametrize("own", [{}, {"momentum": 0.5, "weight_decay": 0.2}])
def test_muon_of_matrices_and_convolutions_equals_torch(own):
    ours, theirs = muon_and_torch([(6, 4), (3, 8), (5, 2, 3, 3)], Muon.Config(lr=0.02, **own))
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine, other)


def test_muon_of_vectors_is_adamw():
    start = torch.arange(1.0, 5.0)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    config = Muon.Config(lr=0.01, betas=(0.8, 0.99), eps=1e-4, weight_decay=0.3)
    mine = make_optimiser(config, holding(nn.Parameter(torch.ones(2, 2)), ours))
    plain = torch.optim.AdamW([theirs], 0.01, (0.8, 0.99), 1e-4, weight_decay=0.3, foreach=False)
    for step in range(5):
        for parameter, optimiser in ((ours, mine), (theirs, plain)):
            parameter.grad = torch.cos(parameter.detach() + step)
            optimiser.step()
    torch.testing.assert_close(ours, theirs)


def test_a_step_of_muon_is_nearly_orthogonal():
    weight = nn.Parameter(torch.zeros(4, 9))
    optimiser = make_optimiser(Muon.Config(lr=1.0), holding(weight))
    weight.grad = torch.randn(4, 9, generator=torch.Generator().manual_seed(1))
    optimiser.step()
    singular = torch.linalg.svdvals(weight.detach()) / (0.2 * 9**0.5)
    assert 0.6 < singular.min() <= singular.max() < 1.3
