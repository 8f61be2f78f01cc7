"""Finds parameters that no phase of a model trains, from one step of every phase."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from genprior.parts import Batch, Objectives, Part, Phase
from genprior.registry import Registry, installed
from genprior.runs.row_training import RowTraining

__all__ = ["Trained"]

SHOWN = 3
"""How many parameters a warning names."""


class Trained:
    """Records the parameters that get a gradient, and the modules that are set in closed form.

    In the first step every phase is due, also one that runs in each `every`-th step.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self._reached: set[int] = set()
        self._updated: set[str] = set()
        self._batches: list[tuple[Phase, Batch]] = []

    @contextlib.contextmanager
    def recording(self, trainer: RowTraining) -> Iterator[None]:
        """Record what the steps of a prepared row train inside the `with` block."""
        parameters, phases = list(trainer.model.parameters()), trainer.phases

        def stepping(*_: Any) -> None:
            self._reached |= {id(parameter) for parameter in parameters if parameter.grad is not None}

        with contextlib.ExitStack() as stack:
            for optimiser in trainer.optimisers.values():
                stack.callback(optimiser.register_step_pre_hook(stepping).remove)
            trainer.phases = tuple(phase._replace(objectives=self._recorded(phase)) for phase in phases)
            try:
                yield
            finally:
                trainer.phases = phases

    def _recorded(self, phase: Phase) -> Callable[[Batch], Objectives]:
        def record(batch: Batch) -> Objectives:
            found = phase.objectives(batch)
            self._updated |= found.updates.keys()
            self._batches.append((phase, batch))
            return found

        return record

    def warnings(self, trainer: RowTraining, registry: Registry | None = None) -> list[str]:
        """For each module of the model with parameters that nothing trains: which, and what to do.

        Frozen parameters, and those that are neither trained nor used, such as a head of which a model reads the trunk
        alone, are no fault. A module of which nothing is trained is told of in any case. The row is not to be trained
        further.
        """
        if not trainer.phases:  # the fit of a prior in closed form
            return []
        model, texts = trainer.model, []
        for role, module in model.named_children():
            named = dict(module.named_parameters(role))
            trainable = {name: each for name, each in named.items() if each.requires_grad and each.numel()}
            missing = {name: each for name, each in trainable.items() if id(each) not in self._reached}
            if not missing or role in self._updated:
                continue
            every = len(missing) == len(trainable)
            used = list(missing) if every else [name for name, each in missing.items() if self._uses(trainer, each)]
            if used:
                texts.append(_warning(trainer, role, module, used, every, registry or installed()))
        return texts

    def _uses(self, trainer: RowTraining, parameter: nn.Parameter) -> bool:
        """Whether a loss or an image depends on a parameter: it does if they are NaN where the parameter is."""
        before = parameter.detach().clone()
        with torch.no_grad():
            parameter.fill_(torch.nan)
        try:
            for phase, batch in self._batches:
                if not all(bool(torch.isfinite(loss)) for loss in phase.objectives(batch).values()):
                    return True
            if not trainer.model.makes_images:
                return False
            with trainer.trained() as model:
                images = model.generate(model.condition(torch.zeros(2, device=parameter.device)))
            return not bool(torch.isfinite(images).all())
        except Exception:  # parts may refuse NaN
            return True
        finally:
            with torch.no_grad():
                parameter.copy_(before)


def _warning(
    trainer: RowTraining, role: str, module: nn.Module, missing: list[str], every: bool, registry: Registry
) -> str:
    model = trainer.model
    if isinstance(module, Part):
        origin = f" of {registry.origin(type(module))}" if registry.offers(type(module)) else ""
        named = f"{module.kind} '{module.name}'{origin}"
        remedy = f"use another {module.kind} or model"
    else:
        named, remedy = f"module '{role}' of model '{model.name}'", "use another model"
    shown = ", ".join(missing[:SHOWN]) + (f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else "")
    phases = ", ".join(f"'{phase.name}'" for phase in trainer.phases)
    learns = "learns nothing" if every else "does not learn all that it could"
    return (
        f"{named} {learns} here: no phase of model '{model.name}' ({phases}) trains {shown}, which would keep the "
        f"first values. To have them trained, {remedy}; if the first values will do, ignore this. A part of your own "
        "can let a loss of the model reach them, or freeze them with requires_grad_(False), which ends this warning"
    )
