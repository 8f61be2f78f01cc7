"""The contracts of an optimiser and of a schedule."""

from __future__ import annotations

import copy
import functools
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from genprior.engine.optimise import Optimisers
from genprior.parts import Optimiser, OptimiserConfig, PartConfig, Schedule
from genprior.randomness import seeded
from genprior.testing.elementwise import check_elementwise
from genprior.testing.report import Contract, describe
from genprior.testing.settings import check_config, config_of

__all__ = ["check_optimiser", "check_schedule"]

SHAPES = {"weight": (4, 3), "kernel": (4, 2, 3, 3), "bias": (4,), "scale": ()}
"""The parameters of the module that is trained: a matrix, a convolution, a vector and a number."""
STEPS = 40
LENGTHS = (1, 10, 1000)
"""Numbers of steps of the runs whose learning rates are looked at."""


# ---------------------------------------------------------------------------------------------------------------------
# Optimisers
# ---------------------------------------------------------------------------------------------------------------------


class _Quadratic(nn.Module):
    """Parameters p with the loss sum |p - target|^2 / 2, whose gradient is p - target."""

    def __init__(self) -> None:
        super().__init__()
        with seeded("testing", "quadratic"):
            for name, shape in SHAPES.items():
                self.register_parameter(name, nn.Parameter(torch.randn(shape)))
                self.register_buffer(f"{name}_target", torch.randn(shape))

    def target(self, name: str) -> Tensor:
        return self.get_buffer(f"{name}_target")

    def losses(self) -> dict[str, float]:
        """The loss of each parameter."""
        return {name: float((p.detach() - self.target(name)).square().sum() / 2) for name, p in self.named_parameters()}

    def put_gradients(self) -> None:
        for name, parameter in self.named_parameters():
            parameter.grad = parameter.detach() - self.target(name)


class _Values(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the tensors whose value the host asks for; counters in an optimiser's state may lie on the host."""

    def __init__(self, optimiser: torch.optim.Optimizer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._counters = [each for state in optimiser.state.values() for each in state.values()]
        self.asked = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            self.asked += not any(args[0] is each for each in self._counters)
        return func(*args, **(kwargs or {}))


def check_optimiser(part: PartConfig | type[Optimiser]) -> None:
    """Check that an optimiser keeps its contract; see `genprior.Optimiser`.

    It has each parameter in one group; descends a quadratic with each parameter; obeys the `lr` of its groups; leaves a
    parameter without a gradient as it is; asks no tensor for its value in a step; and continues bit for bit from a
    checkpoint. Weights for evaluation have the shapes of the parameters, always the same names, and change nothing. One
    that is `elementwise` moves several modules as one for each does.

    Args:
        part: the settings or the class.

    Raises:
        ContractError: lists every promise that is broken.
    """
    config = cast(OptimiserConfig, config_of(part, Optimiser))
    contract = Contract(config.part, repr(config))
    check_config(contract, config)
    made = contract.call("build(parameters)", lambda: _made(config), "it makes a torch.optim.Optimizer")
    if made is not None and _check_groups(contract, *made):
        together = functools.partial(check_elementwise, module=_Quadratic)
        for check in (_check_descent, _check_rate, _check_missing, _check_host, _check_resumed, together):
            contract.call("step()", lambda check=check: check(contract, config), optional=True)  # type: ignore[misc]
            if contract.failures:
                break
    contract.finish()


def _made(config: OptimiserConfig) -> tuple[_Quadratic, Optimisers]:
    module = _Quadratic()
    return module, Optimisers({"module": config}, {"module": module}, STEPS)


def _step(module: _Quadratic, optimisers: Optimisers, step: int) -> None:
    optimisers.set_rates(step)
    module.put_gradients()
    optimisers.of["module"].step()
    optimisers.of["module"].zero_grad(set_to_none=True)


def _check_groups(contract: Contract, module: _Quadratic, optimisers: Optimisers) -> bool:
    optimiser = optimisers.of["module"]
    held = [id(each) for group in optimiser.param_groups for each in group["params"]]
    return contract.require(
        sorted(held) == sorted(id(each) for each in module.parameters()),
        "build(parameters).param_groups",
        f"{len(held)} parameters, of {len(SHAPES)} that were given",
        "every parameter that was given, once",
        "put parameters.values() into the groups",
    )


def _check_descent(contract: Contract, config: OptimiserConfig) -> None:
    module, optimisers = _made(config)
    before, names = module.losses(), sorted(optimisers.evaluation_weights())
    for step in range(STEPS):
        _step(module, optimisers, step)
    _require_lower(contract, before, module.losses(), "in training")
    trained = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = copy.deepcopy(optimisers.of["module"].state_dict())
    weights = optimisers.evaluation_weights()
    called = "evaluation_weights(optimiser, parameters)"
    wrong = [
        name
        for name, tensor in weights.items()
        if (p := dict(module.named_parameters()).get(name.removeprefix("module."))) is None
        or (tensor.shape, tensor.dtype, tensor.device) != (p.shape, p.dtype, p.device)
    ]
    if not contract.require(
        not wrong,
        called,
        f"'{wrong[0].removeprefix('module.')}'" if wrong else "",
        "names of parameters, with tensors of their shape, dtype and device",
        "return {name: weights} for names of `parameters`",
    ):
        return
    contract.require(
        sorted(weights) == names,
        called,
        f"{len(names)} names before the first step, {len(weights)} after {STEPS} steps",
        "the same names at any time",
        "before the first step, when there is no state, return the parameters themselves",
    )
    with optimisers.in_evaluation():
        _require_lower(contract, before, module.losses(), "with the weights for evaluation")
    same = all(torch.equal(tensor, trained[name]) for name, tensor in module.state_dict().items())
    contract.require(
        same and _equal(state, optimisers.of["module"].state_dict()),
        called,
        "the parameters or the state of the optimiser changed",
        "nothing is modified",
        "compute new tensors, such as p.lerp(z, w), instead of changing p in place",
    )


def _require_lower(contract: Contract, before: Mapping[str, float], after: Mapping[str, float], when: str) -> None:
    for name, loss in after.items():
        contract.require(
            loss < before[name],
            f"step(), {STEPS} times down |p - target|^2 / 2, for a parameter {list(SHAPES[name])}, {when}",
            f"a loss of {loss:.6g}, which was {before[name]:.6g}",
            "a lower loss",
            "look at the sign of the update and at the parameters that it leaves out; or pass a smaller lr",
        )


def _check_rate(contract: Contract, config: OptimiserConfig) -> None:
    ends = []
    for factor in (1.0, 0.5):
        module, optimisers = _made(config)
        optimisers.set_rates(STEPS)
        for group in optimisers.of["module"].param_groups:
            group["lr"] *= factor
        module.put_gradients()
        optimisers.of["module"].step()
        ends.append([parameter.detach().clone() for parameter in module.parameters()])
    contract.require(
        not any(torch.equal(one, half) for one, half in zip(*ends, strict=True)),
        "step() after group['lr'] was halved",
        "the same parameters as at the full rate",
        "a step obeys the `lr` of its group, which schedules set",
        "read group['lr'] in each step",
    )


def _check_missing(contract: Contract, config: OptimiserConfig) -> None:
    module, optimisers = _made(config)
    module.put_gradients()
    module.get_parameter("bias").grad = None
    before = module.get_parameter("bias").detach().clone()
    optimisers.of["module"].step()
    contract.require(
        torch.equal(before, module.get_parameter("bias").detach()),
        "step() with a parameter whose grad is None",
        "the parameter has changed",
        "a parameter without a gradient stays as it is",
        "skip parameters with `if p.grad is None: continue`",
    )


def _check_host(contract: Contract, config: OptimiserConfig) -> None:
    module, optimisers = _made(config)
    _step(module, optimisers, 0)
    optimisers.set_rates(1)
    module.put_gradients()
    with _Values(optimisers.of["module"]) as values:
        optimisers.of["module"].step()
    contract.require(
        values.asked == 0,
        "step()",
        f"the values of {values.asked} tensors were asked for, by .item(), float(), or `if tensor:`",
        "a step does not wait for the device",
        "keep counts as numbers in param_groups, and decide on the device with torch.where",
    )


def _check_resumed(contract: Contract, config: OptimiserConfig) -> None:
    half = STEPS // 2
    module, optimisers = _made(config)
    for step in range(half):
        _step(module, optimisers, step)
    again, resumed = _made(config)
    again.load_state_dict(module.state_dict())
    tensors = {name: tensor.clone() for name, tensor in optimisers.tensors().items()}
    resumed.restore(_under(tensors), json.loads(json.dumps(optimisers.facts())))
    for step in range(half, STEPS):
        _step(module, optimisers, step)
        _step(again, resumed, step)
    pairs = zip(module.named_parameters(), again.parameters(), strict=True)
    wrong = [name for (name, one), other in pairs if not torch.equal(one, other)]
    contract.require(
        not wrong,
        f"step() after a checkpoint at step {half} was written and read",
        f"{', '.join(wrong)} at step {STEPS} differ from a run without the interruption",
        "a resumed run is the same, bit for bit",
        "keep what steps change in self.state[p] and in numbers of param_groups, not in other attributes",
    )


def _under(tensors: Mapping[str, Tensor]) -> Callable[[str], dict[str, Tensor]]:
    """The tensors below a prefix, as a checkpoint gives them."""
    return lambda prefix: {n.removeprefix(f"{prefix}/"): t for n, t in tensors.items() if n.startswith(f"{prefix}/")}


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


# ---------------------------------------------------------------------------------------------------------------------
# Schedules
# ---------------------------------------------------------------------------------------------------------------------


def check_schedule(part: PartConfig | type[Schedule], *, metric: str = "autoencode/encoder/loss") -> None:
    """Check that a schedule keeps its contract; see `genprior.Schedule`.

    Factors are finite numbers of at least 0 at every step of runs of 1, 10 and 1000 steps; they depend on the step, the
    number of steps and the records that were heard, and on nothing else; one that is `constant` has the factor 1; one
    that is restored from a checkpoint goes on with the same factors.

    Args:
        part: the settings or the class.
        metric: the name of the number in the records that the schedule is told, for one that listens to it.

    Raises:
        ContractError: lists every promise that is broken.
    """
    config = config_of(part, Schedule)
    contract = Contract(config.part, repr(config))
    check_config(contract, config)
    made = contract.call("Config(...).make()", config.make)
    if made is not None and _check_factors(contract, made):
        contract.call("recorded(metrics)", lambda: _check_records(contract, config, metric), optional=True)
    contract.finish()


def _check_factors(contract: Contract, schedule: Schedule) -> bool:
    for steps in LENGTHS:
        for step in range(steps):
            called = f"factor({step}, {steps})"
            value = contract.call(called, lambda step=step, steps=steps: schedule.factor(step, steps))  # type: ignore[misc]
            if contract.failures or not contract.require(
                isinstance(value, int | float) and 0 <= value < math.inf,
                called,
                describe(value),
                "a finite number of at least 0",
                "return a float, by which `lr` is multiplied",
            ):
                return False
            if not contract.require(
                not schedule.constant or value == 1,
                called,
                describe(value),
                "1, because the schedule has constant = True, and such rates are not recorded",
                "remove `constant = True` from the class",
            ):
                return False
    return True


def _factors(schedule: Schedule) -> list[float]:
    return [schedule.factor(step, LENGTHS[1]) for step in range(LENGTHS[1])]


def _check_records(contract: Contract, config: PartConfig, metric: str) -> None:
    schedule: Schedule = config.make()
    first, backwards = _factors(schedule), [schedule.factor(step, LENGTHS[1]) for step in range(LENGTHS[1])[::-1]]
    contract.require(
        first == backwards[::-1],
        f"factor(step, {LENGTHS[1]}) for all steps, and again from the last to the first",
        f"{first}, then {backwards[::-1]}",
        "the same factors: an interrupted run asks for those of later steps only",
        "compute the factor from step and steps, and change the state in `recorded` alone",
    )
    values = [5.0, 4.0, 3.0, None, *[3.0] * 40, 2.0, *[2.0] * 40]
    middle = len(values) // 2
    resumed: Schedule = config.make()
    for number, value in enumerate(values):
        if number == middle:
            resumed.restore(json.loads(json.dumps(schedule.state())))
        line = {"step": float(number), "seconds": 1.0, metric: value}
        schedule.recorded(line)
        if number >= middle:
            resumed.recorded(line)
            if not contract.require(
                _factors(resumed) == _factors(schedule),
                f"restore(state()) after {middle} records, then {number + 1 - middle} more",
                f"factors {_factors(resumed)}, without the interruption {_factors(schedule)}",
                "a resumed run has the same rates",
                "return all that `recorded` changes from `state`, and take it in `restore`",
            ):
                return
