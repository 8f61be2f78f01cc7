"""Modules of equal settings share an optimiser: the numbers and checkpoints are those of one for each module."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import genprior
from genprior.engine.optimise import Optimisers
from genprior.engine.step import _norms, run_phase
from genprior.parts import Objectives, Optimiser, Phase
from genprior.registry import installed
from genprior.runs.trainer import Trainer
from genprior.testing import ContractError, check_optimiser

RECIPE = Path(__file__).parents[2] / "recipes" / "table3_ablation.toml"
PARTS = [part for part in installed().all() if issubclass(part, Optimiser) and part.elementwise]


def networks(seed=0):
    torch.manual_seed(seed)
    one = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).to(memory_format=torch.channels_last)
    return {"one": one, "two": nn.Linear(5, 7), "three": nn.Linear(1, 1, bias=False)}


def step_of(modules, optimisers, step, moving):
    """A phase that moves some of the modules by gradients that do not depend on what optimisers do."""
    torch.manual_seed(step)
    targets = {name: [torch.randn_like(p) for p in modules[name].parameters()] for name in moving}

    def objectives(batch):
        return Objectives(
            {
                name: sum(((p - t) ** 2).sum() for p, t in zip(modules[name].parameters(), targets[name], strict=True))
                for name in moving
            }
        )

    run_phase(Phase("p", objectives), None, modules, optimisers)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_every_elementwise_optimiser_moves_modules_together_as_each_alone(part):
    config = part.Config(lr=0.1, weight_decay=0.1)
    shared, alone = networks(), networks()
    joined = Optimisers(dict.fromkeys(shared, config), shared, 10)
    apart = {name: part(config).build_for(module) for name, module in alone.items()}
    assert len(set(map(id, joined.of.values()))) == 1
    for step, moving in enumerate([("two",), ("one", "two", "three"), ("three", "one"), ("one", "two"), ("two",)]):
        joined.set_rates(step)
        step_of(shared, joined.of, step, moving)
        step_of(alone, apart, step, moving)
    for name, module in alone.items():
        for p, q in zip(module.parameters(), shared[name].parameters(), strict=True):
            assert torch.equal(p, q)
            assert apart[name].state[p].keys() == joined.of[name].state[q].keys()
            assert all(torch.equal(apart[name].state[p][key], each) for key, each in joined.of[name].state[q].items())


def test_some_standard_optimisers_are_elementwise():
    assert {"adam", "adamw"} <= {part.name for part in PARTS}


def test_only_equal_settings_of_modules_without_common_parameters_are_shared():
    modules = networks()
    modules["tied"] = nn.Sequential(modules["two"])
    adam = installed().configure("optimiser", {"name": "adam", "lr": 1e-3})
    other = installed().configure("optimiser", {"name": "adam", "lr": 2e-3})
    normalised = installed().configure("optimiser", {"name": "adam_norm_grad", "lr": 1e-3})
    configs = {"one": adam, "two": adam, "three": other, "tied": adam, "p/one": adam}
    of = Optimisers(configs, modules, 10).of
    assert of["one"] is of["two"]
    assert len({id(each) for each in of.values()}) == 4
    of = Optimisers(dict.fromkeys(("one", "two"), normalised), modules, 10).of
    assert of["one"] is not of["two"]


def test_a_wrong_statement_is_found():
    class Norm(torch.optim.SGD):
        def step(self, closure=None):
            nn.utils.clip_grad_norm_([p for group in self.param_groups for p in group["params"]], 0.1)
            return super().step(closure)

    class OfAll(Optimiser):
        name = "of_all"
        elementwise = True

        def build(self, parameters):
            return Norm(parameters.values(), lr=self.config.lr)

    with pytest.raises(
        ContractError, match=r"other weights, where it moves two modules(.|\n)*leave `elementwise` False"
    ):
        check_optimiser(OfAll.Config(lr=0.1))


class _Calls(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.count = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def prepared(folder, monkeypatch, *, shared):
    settings = ["run.batch=8", "scores=[]", "model.encoder.width=4", "model.decoder.width=4", "run.clip_norm=0.5"]
    plan = genprior.load_recipe(RECIPE, changes=["quick"], rows=["A+B+C"], settings=settings).plans[0]
    with monkeypatch.context() as patch:
        if not shared:
            patch.setattr(plan.optimiser["default"].part, "elementwise", False)
        trainer = Trainer(plan, 0, folder, device="cpu")
        trainer.prepare()
    trainer._training_mode()
    assert len({id(each) for each in trainer.optimisers.values()}) == (1 if shared else 5)
    return trainer


def test_a_row_trains_with_one_call_in_a_phase_and_its_checkpoints_are_those_of_separate_optimisers(
    tmp_path, monkeypatch
):
    shared, apart = (prepared(tmp_path / str(each), monkeypatch, shared=each) for each in (True, False))
    for trainer in (shared, apart):
        for _ in range(2):
            trainer.one_step()
    with _Calls() as calls:
        shared.one_step()
    assert calls.count["_fused_adam_"] == calls.count["_foreach_norm"] == len(shared.phases) == 2
    apart.one_step()
    here, there = shared._state.tensors(), apart._state.tensors()
    assert list(here) == list(there)
    assert all(torch.equal(here[name], there[name]) for name in here)
    assert shared._state.facts() == apart._state.facts()
    # What one wrote, the other resumes from.
    path, changed = apart.write_and_restore()
    assert changed == []
    resumed = prepared(tmp_path / "resumed", monkeypatch, shared=True)
    resumed.step = resumed._state.restore(path, torch.device("cpu")).step
    for trainer in (resumed, shared):
        trainer.one_step()
    here, there = resumed._state.tensors(), shared._state.tensors()
    assert all(torch.equal(here[name], there[name]) for name in here)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_norms_are_those_of_each_module(dtype):
    torch.manual_seed(0)
    shapes = {"one": [(3, 4), (5,), ()], "two": [(1,)], "three": [(64, 33), (2, 2, 2)]}
    gradients = {name: [(None, torch.randn(shape).to(dtype)) for shape in each] for name, each in shapes.items()}
    for name, norm in _norms(gradients).items():
        assert torch.equal(norm, nn.utils.get_total_norm([gradient for _, gradient in gradients[name]]))
    assert _norms({}) == {}
