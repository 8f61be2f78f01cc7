"""Clipping of gradients against torch.nn.utils."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import genprior
from genprior.engine.clip import Clipping
from genprior.engine.step import run_phase
from genprior.parts import Batch, Objectives, Phase
from genprior.runs.trainer import Trainer

BATCH = Batch(torch.randn(8, 1, 2, 2, generator=torch.Generator().manual_seed(1)), torch.zeros(8, dtype=torch.int64))


def gradients(scale):
    generator = torch.Generator().manual_seed(4)
    return [scale * torch.randn(shape, generator=generator) for shape in ((3, 4), (5,), ())]


def as_torch_does(given_gradients, clipping):
    parameters = [nn.Parameter(torch.zeros_like(each)) for each in given_gradients]
    for parameter, gradient in zip(parameters, given_gradients, strict=True):
        parameter.grad = gradient.clone()
    if clipping.norm is not None:
        nn.utils.clip_grad_norm_(parameters, clipping.norm)
    if clipping.value is not None:
        nn.utils.clip_grad_value_(parameters, clipping.value)
    return [parameter.grad for parameter in parameters]


LIMIT = st.none() | st.floats(1e-3, 1e3)


@settings(deadline=None)
@given(LIMIT, LIMIT, st.floats(1e-3, 1e3))
def test_clipping_equals_torch_bit_for_bit(norm, value, scale):
    clipping, grads = Clipping(norm, value), gradients(scale)
    before = [each.clone() for each in grads]
    clipped = clipping(grads, nn.utils.get_total_norm(grads))
    for mine, theirs in zip(clipped, as_torch_does(grads, clipping), strict=True):
        assert torch.equal(mine, theirs)
    assert all(torch.equal(now, old) for now, old in zip(grads, before, strict=True))


def test_each_module_is_clipped_by_itself_and_recorded_before():
    """One module far above the limit, one far below it, whose step is the same as without a limit."""

    def objectives(batch, modules):
        x = batch.x.flatten(1)
        return Objectives({"steep": 1e3 * modules["steep"](x).sum(), "flat": 1e-3 * modules["flat"](x).sum()})

    moves, norms = {}, {}
    for limit in (None, 0.5):
        torch.manual_seed(0)
        modules = {name: nn.Linear(4, 1) for name in ("steep", "flat")}
        before = {name: nn.utils.parameters_to_vector(each.parameters()).detach() for name, each in modules.items()}
        optimisers = {name: torch.optim.SGD(each.parameters(), lr=1.0) for name, each in modules.items()}
        phase = Phase("p", lambda batch, modules=modules: objectives(batch, modules))
        result = run_phase(phase, BATCH, modules, optimisers, clip=Clipping(norm=limit))
        norms[limit] = dict(zip(result.keys, result.values.tolist(), strict=True))
        after = {name: nn.utils.parameters_to_vector(each.parameters()).detach() for name, each in modules.items()}
        moves[limit] = {name: (after[name] - before[name]).norm().item() for name in modules}
    assert norms[0.5] == norms[None] and norms[None]["p/steep/gradient"] > 1e3
    assert moves[0.5]["steep"] == pytest.approx(0.5, rel=1e-4)
    assert moves[0.5]["flat"] == moves[None]["flat"] < 0.5


def test_one_tensor_that_is_the_gradient_of_two_parameters_is_clipped_once():
    shared = torch.full((4,), 3.0)
    clipped = Clipping(norm=1.0)([shared, shared], nn.utils.get_total_norm([shared, shared]))
    torch.testing.assert_close(torch.stack(list(clipped)).norm(), torch.tensor(1.0))


@pytest.mark.usefixtures("no_curves")
@pytest.mark.parametrize("setting", ["run.clip_norm=1e-4", "run.clip_value=1e-5"])
def test_a_run_is_clipped_and_says_so_if_it_is_resumed_otherwise(setting, tiny_plan, tmp_path):
    weights = {}
    for name, own in (("free", []), ("clipped", [setting])):
        plan = tiny_plan("AAE", 'optimiser.default={name="sgd",lr=1.0}', "run.steps=2", *own)
        trainer = Trainer(plan, 0, tmp_path / name)
        trainer.run()
        weights[name] = torch.cat([each.flatten() for each in trainer.model.parameters()])
        start = Trainer(plan, 0, tmp_path / "start")
        start.prepare()
        weights["start"] = torch.cat([each.flatten() for each in start.model.parameters()])
    moved = {name: (weights[name] - weights["start"]).abs().max().item() for name in ("free", "clipped")}
    assert moved["free"] > 1e-3 and 0 < moved["clipped"] < 1e-3
    with pytest.raises(genprior.RunError, match="run.clip_"):
        Trainer(tiny_plan("AAE", 'optimiser.default={name="sgd",lr=1.0}', "run.steps=2"), 0, tmp_path / "clipped").run()


@pytest.mark.parametrize("setting", ["run.clip_norm=0", "run.clip_value=-1", "run.clip_norm=inf"])
def test_limits_are_positive_and_finite(setting, tiny):
    with pytest.raises(genprior.RecipeError, match=r"run\.clip_"):
        genprior.load_recipe(tiny, settings=[setting])
