"""Optimisers of a module in one phase: what they move, what they inherit, and that a run with them resumes."""

from __future__ import annotations

import copy

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import genprior
from genprior import Objectives, Phase
from genprior.engine.optimise import Optimisers
from genprior.engine.step import run_phase
from genprior.errors import PlanError, RecipeError
from genprior.launch.preflight import preflight
from genprior.parts import Batch
from genprior.registry import Origin, installed
from genprior.runs.trainer import Trainer
from genprior_std.optimisers.sgd import Sgd
from genprior_std.schedules.piecewise import Piecewise

from .test_optimiser_parts import Free

BATCH = Batch(torch.randn(8, 1, 2, 2, generator=torch.Generator().manual_seed(1)), torch.zeros(8, dtype=torch.int64))
SHARED = 'optimiser."improve_prior/decoder"'


def last(folder):
    return load_file(sorted((folder / "checkpoints").glob("*.safetensors"))[-1])


# ---------------------------------------------------------------------------------------------------------------------
# Steps
# ---------------------------------------------------------------------------------------------------------------------


def test_each_phase_steps_with_its_own_rate_and_momentum():
    """Against two momenta kept by hand: v <- m v + g, w <- w - lr v, one v for each phase."""
    torch.manual_seed(3)
    modules = {"net": nn.Linear(4, 1).double()}
    by_hand = copy.deepcopy(modules["net"])
    x = BATCH.x.flatten(1).double()

    def losses(net):
        return {"first": net(x).square().mean(), "second": (net(x) - 1).abs().mean()}

    configs = {"net": Sgd.Config(lr=0.1, momentum=0.1), "first/net": Sgd.Config(lr=0.01, momentum=0.9)}
    optimisers = Optimisers(configs, modules, steps=5)
    phases = [Phase(name, lambda _, n=name: Objectives({"net": losses(modules["net"])[n]})) for name in losses(by_hand)]
    settings = {"first": (0.01, 0.9), "second": (0.1, 0.1)}
    momentum = {name: [torch.zeros_like(p) for p in by_hand.parameters()] for name in settings}
    for step in range(5):
        optimisers.set_rates(step)
        for phase in phases:
            run_phase(phase, BATCH, modules, optimisers.of)
            lr, share = settings[phase.name]
            gradients = torch.autograd.grad(losses(by_hand)[phase.name], list(by_hand.parameters()))
            with torch.no_grad():
                for v, p, g in zip(momentum[phase.name], by_hand.parameters(), gradients, strict=True):
                    v.mul_(share).add_(g)
                    p.sub_(lr * v)
    for mine, theirs in zip(modules["net"].parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_each_has_a_schedule_of_its_own():
    rate = Piecewise.Config(at=(2,), factors=(0.1,))
    configs = {"net": Sgd.Config(lr=0.1), "first/net": Sgd.Config(lr=0.01, schedule=rate)}
    optimisers = Optimisers(configs, {"net": nn.Linear(2, 1)}, steps=5)
    optimisers.set_rates(2)
    assert optimisers.of["net"].param_groups[0]["lr"] == 0.1
    assert optimisers.of["first/net"].param_groups[0]["lr"] == pytest.approx(0.001)
    assert optimisers.rates(2) == {"optimiser/first/net/lr": pytest.approx(0.001)}


# ---------------------------------------------------------------------------------------------------------------------
# Recipes
# ---------------------------------------------------------------------------------------------------------------------


def test_it_inherits_from_the_module_and_that_from_the_default(tiny_plan):
    plan = tiny_plan(
        "A+B+C", "optimiser.default.betas=[0.5,0.9]", "optimiser.decoder.lr=0.5", f"{SHARED}.weight_decay=0.1"
    )
    own = plan.optimiser["improve_prior/decoder"]
    assert (own.name, own.lr, own.betas, own.weight_decay) == ("adam", 0.5, (0.5, 0.9), 0.1)
    assert plan.optimiser["decoder"].weight_decay == 0
    without = tiny_plan("A+B+C", f'{SHARED}.name="sgd"').optimiser["improve_prior/decoder"]
    assert (without.name, without.lr) == ("sgd", 1e-3)


def test_the_resolved_recipe_has_it(tiny_plan, tmp_path):
    plan = tiny_plan("A+B+C", f"{SHARED}.lr=0.5")
    Trainer(plan, 0, tmp_path / "run").run(until=1)
    again = genprior.load_run(tmp_path / "run").plan
    assert again.optimiser["improve_prior/decoder"].lr == 0.5
    assert again.differences(plan.as_table()) == []
    (line,) = again.differences(tiny_plan("A+B+C", f"{SHARED}.lr=0.25").as_table())
    assert "improve_prior/decoder" in line


@pytest.mark.parametrize("key", ["nowhere/decoder", "improve_prior/nobody", "improve_prior/"])
def test_a_phase_or_module_that_is_not_there_is_refused(key, tiny):
    recipe = genprior.load_recipe(tiny, rows=["A+B+C"], settings=[f'optimiser."{key}".lr=1.0'])
    with pytest.raises(RecipeError) as caught:
        preflight(recipe)
    phase, _, module = key.partition("/")
    assert f"optimiser.\"{key}\" is for module '{module}' in phase '{phase}' of model 'aae'. Its phases: " in str(
        caught.value
    )
    assert "regularise, improve_prior; its modules: " in str(caught.value)


@pytest.mark.parametrize("key", ["decoder", SHARED.removeprefix("optimiser.")])
def test_weights_for_evaluation_of_a_module_with_two_optimisers_are_refused(key, tiny_plan, tmp_path, monkeypatch):
    registry = installed()
    monkeypatch.setitem(registry._parts, (Free.kind, Free.name), Free)
    monkeypatch.setitem(registry._origins, (Free.kind, Free.name), Origin("free", "genprior-free 1"))
    plan = tiny_plan("A+B+C", f'{SHARED}.name="adam"', f'optimiser.{key}.name="free_sgd"')
    with pytest.raises(PlanError, match="evaluates other weights than it trains, and 'decoder' has a second optimiser"):
        Trainer(plan, 0, tmp_path).prepare()


def test_what_is_said_of_a_loss_that_is_not_finite_names_the_rate_of_the_phase(tiny_plan, tmp_path):
    trainer = Trainer(tiny_plan("A+B+C", f"{SHARED}.lr=0.5"), 0, tmp_path)
    trainer.prepare()
    key = 'optimiser."improve_prior/decoder".lr'
    assert f"Lower the learning rate of 'decoder' ({key})" in trainer._explained(1, "improve_prior", "decoder")
    assert "the learning rate of 'decoder' (optimiser.decoder.lr)" in trainer._explained(1, "regularise", "decoder")


# ---------------------------------------------------------------------------------------------------------------------
# Runs
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_curves")
@pytest.mark.parametrize("method", ['{name="sgd",lr=0.01,momentum=0.9}', '{name="adam",schedule={name="cosine"}}'])
def test_a_run_resumes_bit_for_bit(method, tiny_plan, tmp_path):
    plan = tiny_plan("A+B+C", f"{SHARED}={method}", "run.ema=0.9")
    Trainer(plan, 3, tmp_path / "once").run()
    Trainer(plan, 3, tmp_path / "twice").run(until=3)
    Trainer(plan, 3, tmp_path / "twice").run()
    once, twice = last(tmp_path / "once"), last(tmp_path / "twice")
    assert once.keys() == twice.keys()
    assert any(key.startswith("phase_optimiser/improve_prior/decoder/") for key in once)
    assert [key for key in once if not torch.equal(once[key], twice[key])] == []


@pytest.mark.usefixtures("no_curves")
def test_it_changes_the_phase_it_is_for_alone(tiny_plan, tmp_path):
    """With a rate of almost nothing in one phase, the decoder moves as if that phase left it alone."""
    Trainer(tiny_plan("A+B+C", f"{SHARED}.lr=1e-30"), 0, tmp_path / "still").run(until=1)
    Trainer(tiny_plan("A+B+C", "model.improves.decoder=false"), 0, tmp_path / "alone").run(until=1)
    still, alone = last(tmp_path / "still"), last(tmp_path / "alone")
    keys = [
        key for key in alone if key.startswith("model/decoder") and "running" not in key and "num_batches" not in key
    ]
    assert keys
    for key in keys:
        torch.testing.assert_close(still[key], alone[key])
