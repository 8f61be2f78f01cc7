"""Optimisers and schedules of a plugin: weights for evaluation, schedules that listen, and what a checkpoint holds."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

import genprior
from genprior import Optimiser, OptimiserConfig, PlanError, PluginError, RecipeError, Schedule, ScheduleConfig
from genprior.engine.divergence import Guard
from genprior.engine.optimise import Optimisers, learning_rate
from genprior.launch.preflight import preflight
from genprior.registry import Origin, Registry, installed
from genprior.runs.trainer import Trainer
from genprior.testing import ContractError, check_optimiser, check_schedule
from genprior_std.optimisers.adam import Adam
from genprior_std.optimisers.adamw import AdamW
from genprior_std.optimisers.muon import Muon
from genprior_std.optimisers.rmsprop import Rmsprop
from genprior_std.optimisers.sgd import Sgd
from genprior_std.schedules.plateau import Plateau

METRIC = "autoencode/encoder/loss"
PLATEAU = 'name="plateau",metric="regularise/encoder/loss",patience=0,factor=0.5,threshold=0.9'


class ScheduleFree(torch.optim.Optimizer):
    """SGD without a schedule: gradients are taken at y, and x is evaluated."""

    def __init__(self, parameters, lr, beta):
        super().__init__(parameters, {"lr": lr, "beta": beta, "steps": 0})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["steps"] += 1
            for y in group["params"]:
                if y.grad is None:
                    continue
                state = self.state[y]
                if not state:
                    state["z"], state["x"], state["moves"] = y.detach().clone(), y.detach().clone(), 0
                state["moves"] += 1
                state["z"].sub_(y.grad, alpha=group["lr"])
                state["x"].lerp_(state["z"], 1 / group["steps"])
                y.copy_(state["z"].lerp(state["x"], group["beta"]))


class Free(Optimiser):
    """Schedule-free SGD (Defazio et al. 2024, eq. 3 to 5)."""

    name = "free_sgd"

    class Config(OptimiserConfig):
        """Settings."""

        beta: float = 0.9
        """Weight of x in y."""

    def build(self, parameters):
        return ScheduleFree(parameters.values(), self.config.lr, self.config.beta)

    def evaluation_weights(self, optimiser, parameters):
        return {name: optimiser.state[p].get("x", p.detach()) for name, p in parameters.items()}


class Rising(Schedule):
    """A rate that rises by a tenth with each record."""

    name = "rising"

    class Config(ScheduleConfig):
        """Settings."""

    heard = 0

    def factor(self, step, steps):
        return 1 + self.heard / 10

    def recorded(self, metrics):
        self.heard += 1

    def state(self):
        return {"heard": self.heard}

    def restore(self, state):
        self.heard = state["heard"]


@pytest.fixture
def with_plugin(monkeypatch):
    registry = installed()
    for part in (Free, Rising):
        monkeypatch.setitem(registry._parts, (part.kind, part.name), part)
        monkeypatch.setitem(registry._origins, (part.kind, part.name), Origin("free", "genprior-free 1"))


# ---------------------------------------------------------------------------------------------------------------------
# Weights for evaluation
# ---------------------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.floats(0.01, 0.9), st.floats(0, 0.99), st.integers(1, 12))
def test_schedule_free_weights_are_the_mean_of_the_iterates(lr, beta, steps):
    """On p^2 / 2 against z, x, y computed with numbers: x is the mean of z_1 ... z_t."""
    module = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(module.weight, 3.0)
    optimisers = Optimisers({"a": Free.Config(lr=lr, beta=beta)}, {"a": module}, steps)
    y = z = 3.0
    iterates = []
    for step in range(steps):
        optimisers.set_rates(step)
        module.weight.grad = module.weight.detach().clone()
        optimisers.of["a"].step()
        z -= lr * y
        iterates.append(z)
        x = sum(iterates) / len(iterates)
        y = (1 - beta) * z + beta * x
    assert module.weight.item() == pytest.approx(y, rel=1e-9, abs=1e-12)
    with optimisers.in_evaluation(), optimisers.in_evaluation():
        assert module.weight.item() == pytest.approx(x, rel=1e-9, abs=1e-12)
    assert module.weight.item() == pytest.approx(y, rel=1e-9, abs=1e-12)


@pytest.mark.usefixtures("no_curves", "with_plugin")
def test_a_run_samples_with_the_weights_for_evaluation_and_so_does_its_checkpoint(tiny_plan, tmp_path):
    plan = tiny_plan("AAE", 'optimiser.default={name="free_sgd",lr=0.5}')
    trainer = Trainer(plan, 0, tmp_path)
    trainer.run()
    module, state = trainer.modules["decoder"], trainer.optimisers["decoder"].state
    training = {name: p.detach().clone() for name, p in module.named_parameters()}
    with trainer.trained() as model:
        evaluated = {name: p.detach().clone() for name, p in model.decoder.named_parameters()}
    for name, parameter in module.named_parameters():
        assert torch.equal(parameter, training[name]) and torch.equal(state[parameter]["x"], evaluated[name])
    assert any(not torch.equal(training[name], evaluated[name]) for name in training)
    loaded = genprior.load_run(tmp_path)
    assert all(torch.equal(p, evaluated[name]) for name, p in loaded.model.decoder.named_parameters())
    assert torch.equal(loaded.sample(3, seed=5), trainer.sample(3, seed=5))


@pytest.mark.usefixtures("with_plugin")
@pytest.mark.parametrize("setting", ["run.ema", "run.ema_share"])
def test_averages_beside_weights_for_evaluation_are_refused(tiny, setting):
    chosen = [f"{setting}=0.9", 'optimiser.decoder={name="free_sgd"}']
    recipe = genprior.load_recipe(tiny, settings=chosen, rows=["AAE"])
    text = f"{setting} averages the weights of 'decoder' for evaluation, and so does its optimiser 'free_sgd'"
    with pytest.raises(RecipeError, match=text):
        preflight(recipe)


# ---------------------------------------------------------------------------------------------------------------------
# Schedules
# ---------------------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(st.floats(0.01, 100), min_size=1, max_size=40),
    st.sampled_from(["lower", "higher"]),
    st.integers(0, 4),
    st.floats(0.1, 0.9),
    st.sampled_from([0.0, 0.05]),
    st.sampled_from([0.0, 0.2]),
)
def test_plateau_gives_the_rates_of_torch(values, better, patience, factor, threshold, final):
    settings = {"factor": factor, "patience": patience, "threshold": threshold, "final": final}
    plateau = Plateau.Config(metric=METRIC, better=better, **settings).make()
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    mode = {"lower": "min", "higher": "max"}[better]
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, mode, factor=factor, patience=patience, threshold=threshold, min_lr=final, eps=0
    )
    for number, value in enumerate(values):
        plateau.recorded({"step": number, METRIC: value})
        theirs.step(value)
        assert plateau.factor(number, 100) == optimiser.param_groups[0]["lr"]


def test_a_mean_that_is_not_finite_is_no_improvement():
    plateau = Plateau.Config(metric=METRIC, patience=1, factor=0.5).make()
    for value in (None, None):
        plateau.recorded({METRIC: value})
    assert plateau.factor(0, 1) == 0.5


def last(folder, ending):
    return sorted((folder / "checkpoints").glob(f"*.{ending}"))[-1]


@pytest.mark.usefixtures("no_curves", "with_plugin")
@pytest.mark.parametrize(
    "settings",
    [
        f"optimiser.default.schedule={{{PLATEAU}}}",
        'optimiser.default.schedule={name="rising"}',
        'optimiser.default={name="free_sgd",lr=0.1}',
        'optimiser.default={name="muon",lr=0.01,momentum=0.9}',
        'optimiser.default={name="adamw",lr=0.01}',
    ],
)
def test_a_run_resumes_bit_for_bit(settings, tiny_plan, tmp_path):
    """Also between two records: log_every is 2, and it stops after 5 steps."""
    plan = tiny_plan("A+B+C", "run.steps=10", "run.log_every=2", settings)
    once = Trainer(plan, 3, tmp_path / "once")
    once.run()
    Trainer(plan, 3, tmp_path / "twice").run(until=5)
    twice = Trainer(plan, 3, tmp_path / "twice")
    twice.run()
    one, two = (load_file(last(tmp_path / each, "safetensors")) for each in ("once", "twice"))
    assert one.keys() == two.keys() and [key for key in one if not torch.equal(one[key], two[key])] == []
    facts = [json.loads(last(tmp_path / each, "json").read_text()) for each in ("once", "twice")]
    assert facts[0].get("optimisers") == facts[1].get("optimisers")
    rates = [[group["lr"] for o in each.optimisers.values() for group in o.param_groups] for each in (once, twice)]
    assert rates[0] == rates[1]
    if "schedule" in settings:
        lr = plan.optimiser_of("encoder").lr
        assert rates[0][0] != lr and facts[0]["optimisers"]["encoder"]["schedule"]


@pytest.mark.usefixtures("with_plugin")
def test_a_metric_that_is_not_recorded_is_refused_before_training(tiny):
    setting = 'optimiser.encoder.schedule={name="plateau",metric="regularise/encoder/los"}'
    recipe = genprior.load_recipe(tiny, settings=[setting], rows=["AAE"])
    text = (
        "the optimiser of 'encoder': schedule 'plateau' listens to 'regularise/encoder/los', which is not recorded; "
        "did you mean 'regularise/encoder/loss'?"
    )
    with pytest.raises(RecipeError) as caught:
        preflight(recipe)
    assert text in str(caught.value) and "[row AAE]" in str(caught.value)


@pytest.mark.parametrize("factor", [-0.1, float("nan"), float("inf")])
def test_a_wrong_factor_is_named(factor):
    class Wrong(Schedule):
        name = "wrong"

        def factor(self, step, steps):
            return factor

    with pytest.raises(PlanError, match=r"schedule 'wrong' gives the factor .* at step 3 of 9; a factor is"):
        learning_rate(Adam.Config(schedule=Wrong.Config()), 3, 9)
    with pytest.raises(ContractError, match=r"factor\(0, 1\)"):
        check_schedule(Wrong)


# ---------------------------------------------------------------------------------------------------------------------
# Tables and registration
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("with_plugin")
def test_an_optimiser_of_a_plugin_inherits_what_it_has(tiny):
    settings = ["optimiser.default.betas=[0.1,0.2]", 'optimiser.decoder={name="free_sgd",beta=0.5}']
    plan = genprior.load_recipe(tiny, settings=settings).row("AAE")
    assert plan.as_table()["optimiser"]["decoder"] == {"name": "free_sgd", "lr": 1e-3, "weight_decay": 0, "beta": 0.5}
    with pytest.raises(RecipeError, match="'free_sgd' has no setting 'eps', which would have no effect; it is a"):
        genprior.load_recipe(tiny, settings=['optimiser.decoder={name="free_sgd",eps=0.5}'])


def offering(part):
    class Plugin:
        @staticmethod
        @genprior.hookimpl
        def genprior_parts(register):
            register(part)

    return Plugin()


def test_settings_without_a_rate_are_refused():
    class Bare(Optimiser):
        name = "bare"

        class Config(genprior.PartConfig):
            """Nothing."""

        def build(self, parameters):
            raise NotImplementedError

    text = "optimiser 'bare', whose settings lack `lr`: derive its Config from genprior.OptimiserConfig"
    with pytest.raises(PluginError, match=text):
        Registry().add(offering(Bare), Origin("bare", "bare 1"))


def test_one_part_of_a_kind_is_the_default():
    class Mine(Adam):
        name = "mine"
        is_default = True

    registry = Registry()
    registry.add(offering(Adam), Origin("std", "std 1"))
    text = "plugin 'mine' .* registers optimiser 'mine' as the one that a table without a name means, which is"
    with pytest.raises(PluginError, match=text):
        registry.add(offering(Mine), Origin("mine", "mine 1"))
    assert registry.names("optimiser") == ["adam"]


# ---------------------------------------------------------------------------------------------------------------------
# Contract checks
# ---------------------------------------------------------------------------------------------------------------------


def test_right_parts_pass():
    check_optimiser(Free.Config(lr=0.1))
    check_schedule(Rising)
    check_schedule(Plateau.Config(metric="a", patience=2), metric="a")


class Broken(ScheduleFree):
    """A schedule-free optimiser with a fault of each kind."""

    def __init__(self, parameters, fault):
        super().__init__(parameters, 0.1, 0.9)
        self.fault, self.count = fault, 0

    @torch.no_grad()
    def step(self, closure=None):
        self.count += 1
        for y in self.param_groups[0]["params"]:
            rate = 0.1 if self.fault == "ignores lr" else self.param_groups[0]["lr"]
            if self.fault == "counts outside":
                rate = rate / self.count
            if self.fault == "moves without gradient" and y.grad is None:
                y.add_(1)
            if y.grad is None or (self.fault == "asks" and y.grad.norm() == 0):
                continue
            y.add_(y.grad, alpha=rate if self.fault == "ascends" else -rate)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("ascends", "look at the sign of the update"),
        ("ignores lr", "a step obeys the `lr` of its group"),
        ("moves without gradient", "a parameter without a gradient stays as it is"),
        ("asks", "the values of 4 tensors were asked for"),
        ("counts outside", "a resumed run is the same, bit for bit"),
        ("some parameters", "every parameter that was given, once"),
        ("no optimiser", "optimiser 'faulty' built a list; its `build` returns a torch.optim.Optimizer"),
        ("wrong names", "names of parameters, with tensors of their shape"),
        ("moves itself", "nothing is modified"),
    ],
)
def test_each_fault_is_found(fault, text):
    class Faulty(Optimiser):
        name = "faulty"

        class Config(OptimiserConfig):
            """Settings."""

        def build(self, parameters):
            given_parameters = list(parameters.values())
            if fault == "no optimiser":
                return given_parameters
            return Broken(given_parameters[1:] if fault == "some parameters" else given_parameters, fault)

        def evaluation_weights(self, optimiser, parameters):
            if fault == "wrong names":
                return {"other": torch.zeros(1)}
            if fault == "moves itself":
                with torch.no_grad():
                    parameters["bias"].mul_(0.999)
            return {}

    with pytest.raises(ContractError) as caught:
        check_optimiser(Faulty)
    assert text in str(caught.value)


def test_a_schedule_that_counts_its_calls_is_found():
    class Counting(Rising):
        name = "counting"

        def factor(self, step, steps):
            self.heard += 1
            return 1 / self.heard

    class Forgetful(Rising):
        name = "forgetful"

        def state(self):
            return {"heard": 0}

    with pytest.raises(ContractError, match="compute the factor from step and steps"):
        check_schedule(Counting)
    with pytest.raises(ContractError, match="a resumed run has the same rates"):
        check_schedule(Forgetful)


@pytest.mark.parametrize("part", [Adam, AdamW, Muon, Sgd, Rmsprop], ids=lambda part: part.name)
def test_an_update_that_is_left_out_on_the_device_leaves_no_trace(part):
    """As on a GPU, where the host does not know that a gradient was not finite."""
    ends = []
    for bad in ([], [0], [2]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2))
        optimiser = Optimisers({"a": part.Config(lr=0.01)}, {"a": module}, 9).of["a"]
        guard = Guard(torch.device("cpu"), skip=True, deferred=True)
        good = 0
        for step in range(4 + len(bad)):
            left_out = step in bad
            for parameter in module.parameters():
                parameter.grad = torch.full_like(parameter, float("nan")) if left_out else torch.cos(parameter + good)
            guard.take(optimiser, torch.tensor(left_out))
            good += not left_out
        ends.append(nn.utils.parameters_to_vector(module.parameters()).detach())
    assert torch.equal(ends[0], ends[1]) and torch.equal(ends[0], ends[2])
