"""The optimisers of all modules: the learning rate of each step, the weights for evaluation, and what resumes them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genprior.engine.ranks import of_first_rank
from genprior.errors import PlanError
from genprior.parts import Optimiser, OptimiserConfig, Schedule
from genprior.storage import restore

__all__ = ["Optimisers", "learning_rate", "make_optimiser"]

Scalars = dict[str, bool | int | float | str]


def make_optimiser(config: OptimiserConfig, module: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of one module's parameters.

    Raises:
        PlanError: the part built something else.
    """
    return _built(config.make(), module)


def _built(part: Optimiser, module: nn.Module) -> torch.optim.Optimizer:
    return _checked(part, part.build_for(module))


def _checked(part: Optimiser, made: object) -> torch.optim.Optimizer:
    if not isinstance(made, torch.optim.Optimizer):
        raise PlanError(
            f"optimiser '{part.name}' built a {type(made).__name__}; its `build` returns a torch.optim.Optimizer"
        )
    return made


def learning_rate(config: OptimiserConfig, step: int, steps: int) -> float:
    """The learning rate of a step, for a schedule that has heard of no record.

    Args:
        config: the optimiser's settings.
        step: 0 for the first step.
        steps: the number of steps of the whole run.

    Returns:
        lr * min(1, (step + 1) / warmup) * factor(step, steps), with the schedule's factor.

    Raises:
        PlanError: the factor is negative or not finite.
    """
    return _rate(config.lr, _schedule_of(config), step, steps)


def _schedule_of(config: OptimiserConfig) -> Schedule | None:
    return config.schedule.make() if config.schedule is not None else None


def _changes(schedule: Schedule | None) -> bool:
    """Whether the learning rate of a schedule changes in a run."""
    return schedule is not None and not (schedule.constant and not schedule.config.warmup)


def _rate(lr: float, schedule: Schedule | None, step: int, steps: int) -> float:
    if schedule is None:
        return lr
    warmup: int = schedule.config.warmup
    factor = schedule.factor(step, steps)
    if not 0 <= factor < math.inf:
        raise PlanError(
            f"schedule '{schedule.name}' gives the factor {factor} at step {step} of {steps}; a factor is finite and "
            "at least 0"
        )
    return lr * (min(1.0, (step + 1) / warmup) if warmup else 1.0) * factor


class Optimisers:
    """The optimisers of all modules of a model, with their schedules.

    A module may have another one in a phase, named `<phase>/<module>`, with moments of its own. Modules of equal
    settings share one object if the optimiser is `elementwise`, so that a phase moves them in one call.
    """

    def __init__(self, configs: Mapping[str, OptimiserConfig], modules: Mapping[str, nn.Module], steps: int) -> None:
        """Make them.

        Args:
            configs: the settings of each module's optimiser.
            modules: the modules, by their names.
            steps: the number of steps of the whole run.

        Raises:
            PlanError: a part built no optimiser, or a module with one of its own in a phase has weights for evaluation.
        """
        self._steps = steps
        self._modules = {name: modules[name.rpartition("/")[2]] for name in configs}
        self._parameters = {name: dict(module.named_parameters()) for name, module in self._modules.items()}
        self._parts: dict[str, Optimiser] = {name: config.make() for name, config in configs.items()}
        self._schedules = {name: _schedule_of(config) for name, config in configs.items()}
        self.of = {name: optimiser for names in self._together(configs) for name, optimiser in self._made(names)}
        """The optimiser of each module, by its name; several may have the same."""
        self._rates = {name: [group["lr"] for group in each.param_groups] for name, each in self.of.items()}
        self._fresh = {name: _scalars_of_groups(each) for name, each in self.of.items()}
        self._refuse_weights_of_two()
        self._depth = 0
        self._trained: list[tuple[nn.Parameter, Tensor]] = []

    def _together(self, configs: Mapping[str, OptimiserConfig]) -> list[list[str]]:
        """The names of optimisers, in lists of those that are one object."""
        lists: list[list[str]] = []
        for name, config in configs.items():
            # What an optimiser builds of a module is its own affair where it looks at more than the parameters.
            part = self._parts[name]
            plain = part.elementwise and type(part).build_for is Optimiser.build_for
            fitting = (
                names
                for names in lists
                if plain
                and not any("/" in each for each in (name, *names))
                and configs[names[0]] == config
                and all(self._apart(name, each) for each in names)
            )
            found = next(fitting, None)
            if found is None:
                lists.append([name])
            else:
                found.append(name)
        return lists

    def _apart(self, name: str, other: str) -> bool:
        here, there = (set(map(id, self._parameters[each].values())) for each in (name, other))
        return here.isdisjoint(there)

    def _made(self, names: list[str]) -> list[tuple[str, torch.optim.Optimizer]]:
        part = self._parts[names[0]]
        if len(names) == 1:
            return [(names[0], _built(part, self._modules[names[0]]))]
        optimiser = _checked(part, part.build(self._parameters_of(names, ".")))
        return [(name, optimiser) for name in names]

    def _parameters_of(self, names: Iterable[str], between: str) -> dict[str, nn.Parameter]:
        return {f"{name}{between}{path}": p for name in names for path, p in self._parameters[name].items()}

    def _refuse_weights_of_two(self) -> None:
        """Refuse weights for evaluation of a module with two optimisers: one does not know the steps of the other."""
        for phase in (name for name in self.of if "/" in name):
            module = phase.rpartition("/")[2]
            for name in (phase, module):
                if self._parts[name].evaluation_weights(self.of[name], self._parameters[name]):
                    raise PlanError(
                        f"optimiser '{self._parts[name].name}' of '{name}' evaluates other weights than it trains, and "
                        f"'{module}' has a second optimiser, optimiser.\"{phase}\", whose steps those weights would "
                        f'miss. Leave optimiser."{phase}" out, or choose another optimiser'
                    )

    def set_rates(self, step: int) -> None:
        """Set the learning rates of a step, 0 for the first.

        Raises:
            PlanError: a schedule's factor is negative or not finite.
        """
        for name, optimiser in self.of.items():
            for group, lr in zip(optimiser.param_groups, self._rates[name], strict=True):
                rate = _rate(lr, self._schedules[name], step, self._steps)
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate

    def rates_on_device(self) -> None:
        """Hold the learning rates that change as tensors [] on the device of the parameters, for a captured step.

        PyTorch's fused steps read them there: as float32 on CUDA, so rounded to a relative 6e-8, as float64 on CPUs.
        """
        for name, optimiser in self.of.items():
            if _changes(self._schedules[name]):
                for group in optimiser.param_groups:
                    device = group["params"][0].device
                    dtype = torch.float64 if device.type == "cpu" else torch.float32
                    group["lr"] = torch.tensor(float(group["lr"]), dtype=dtype, device=device)

    def numbers(self) -> list[Any]:
        """The numbers that optimisers hold on the host, without learning rates."""
        groups = [_scalars_of_groups(optimiser) for optimiser in self.of.values()]
        return [groups, [restore.optimiser_scalars(self.of[name], self._modules[name]) for name in self.of]]

    @contextlib.contextmanager
    def captured(self) -> Iterator[None]:
        """Tell the optimisers inside the block that their step is captured, which those of PyTorch ask for."""
        groups = [group for optimiser in self.of.values() for group in optimiser.param_groups if "capturable" in group]
        before = [group["capturable"] for group in groups]
        for group in groups:
            group["capturable"] = True
        try:
            yield
        finally:
            for group, value in zip(groups, before, strict=True):
                group["capturable"] = value

    def rates(self, step: int) -> dict[str, float]:
        """The learning rate of a step, 0 for the first, by `optimiser/<module>/lr`; only where a schedule changes it.

        It is computed from the settings: no tensor is read. Schedules that listen must not have heard a record since.
        """
        return {
            f"optimiser/{name}/lr": _rate(self._parts[name].config.lr, schedule, step, self._steps)
            for name, schedule in self._schedules.items()
            if schedule is not None and _changes(schedule)
        }

    def recorded(self, metrics: Mapping[str, float | None]) -> None:
        """Tell the schedules a line of metrics.jsonl; of several processes, that of the first one.

        Raises:
            PlanError: a schedule listens to what is not recorded; the message names the optimiser.
        """
        metrics = of_first_rank(metrics)
        for name, schedule in self._schedules.items():
            if schedule is not None:
                try:
                    schedule.recorded(metrics)
                except PlanError as error:
                    raise PlanError(f"the optimiser of '{name}': {error}") from error

    # ----------------------------------------------------------------------------------------------------------------
    # Weights for evaluation
    # ----------------------------------------------------------------------------------------------------------------

    def evaluation_weights(self) -> dict[str, Tensor]:
        """The weights for evaluation that differ from those in training, by `module.parameter`."""
        return {
            f"{name}.{parameter}": tensor
            for name, part in self._parts.items()
            for parameter, tensor in part.evaluation_weights(self.of[name], self._parameters[name]).items()
        }

    @contextlib.contextmanager
    def in_evaluation(self) -> Iterator[None]:
        """Use the weights for evaluation inside the block, and restore those of training after it; blocks can nest."""
        if not self._depth:
            for name, tensor in self.evaluation_weights().items():
                module, _, rest = name.partition(".")
                parameter = self._parameters[module][rest]
                self._trained.append((parameter, parameter.data))
                parameter.data = tensor.detach()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                for parameter, tensor in self._trained:
                    parameter.data = tensor
                self._trained.clear()

    # ----------------------------------------------------------------------------------------------------------------
    # Checkpoints
    # ----------------------------------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """The moments, `optimiser/<module>/<parameter>/<moment>`, and `evaluation/<module>.<parameter>`.

        Those of a phase begin with `phase_optimiser/<phase>/<module>`.
        """
        tensors = {
            f"{_prefix(name)}/{key}": tensor
            for name, optimiser in self.of.items()
            for key, tensor in restore.optimiser_tensors(optimiser, self._modules[name]).items()
        }
        # Copies: a file of tensors holds no two that share memory, as these may do with parameters or moments.
        return tensors | {f"evaluation/{name}": tensor.clone() for name, tensor in self.evaluation_weights().items()}

    def facts(self) -> dict[str, Any]:
        """What has changed beside the tensors, by module: numbers of groups and parameters, states of schedules."""
        facts = {}
        for name, optimiser in self.of.items():
            fresh, schedule = self._fresh[name], self._schedules[name]
            groups = [
                {key: value for key, value in now.items() if before.get(key) != value}
                for before, now in zip(fresh, _scalars_of_groups(optimiser), strict=True)
            ]
            own = {
                "groups": groups if any(groups) else None,
                "parameters": restore.optimiser_scalars(optimiser, self._modules[name]),
                "schedule": schedule.state() if schedule is not None else None,
            }
            facts[name] = {key: value for key, value in own.items() if value}
        return {name: own for name, own in facts.items() if own}

    def restore(self, under: Callable[[str], Mapping[str, Tensor]], facts: Mapping[str, Any]) -> None:
        """Go on from a checkpoint that holds what `tensors` and `facts` returned.

        Args:
            under: returns the tensors below a prefix, by the rest of their names.
            facts: what `facts` returned.
        """
        together: dict[int, list[str]] = {}
        for name, optimiser in self.of.items():
            together.setdefault(id(optimiser), []).append(name)
        for names in together.values():
            of_all = {name: facts.get(name, {}) for name in names}
            tensors = {f"{name}/{key}": each for name in names for key, each in under(_prefix(name)).items()}
            scalars = {
                f"{n}/{key}": each for n, own in of_all.items() for key, each in own.get("parameters", {}).items()
            }
            optimiser = self.of[names[0]]
            restore.restore_optimiser(optimiser, self._parameters_of(names, "/"), tensors, scalars)
            for name, own in of_all.items():
                for group, changed in zip(optimiser.param_groups, own.get("groups", ()), strict=False):
                    group.update(changed)
                schedule = self._schedules[name]
                if schedule is not None and "schedule" in own:
                    schedule.restore(own["schedule"])


def _prefix(name: str) -> str:
    """Where a checkpoint has the moments of an optimiser; those of phases apart, which may be named as modules are."""
    return f"phase_optimiser/{name}" if "/" in name else f"optimiser/{name}"


def _scalars_of_groups(optimiser: torch.optim.Optimizer) -> list[Scalars]:
    """The numbers and texts of each group, without the learning rate, which is set before each step."""
    return [
        {key: value for key, value in group.items() if key != "lr" and isinstance(value, bool | int | float | str)}
        for group in optimiser.param_groups
    ]
