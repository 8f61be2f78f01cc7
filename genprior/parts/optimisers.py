"""Optimisers and schedules: how the parameters of one module descend, and how the learning rate changes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import ConfigDict, Field, PlainValidator, SerializeAsAny, WithJsonSchema
from torch import Tensor, nn

from genprior.parts.base import Part, PartConfig, pick

__all__ = [
    "Optimiser",
    "OptimiserConfig",
    "OptimiserSpec",
    "Schedule",
    "ScheduleConfig",
    "ScheduleSpec",
    "StackedWeights",
]


class ScheduleConfig(PartConfig):
    """The settings of a schedule; nest a subclass called `Config` in the schedule."""

    model_config = ConfigDict(allow_inf_nan=False)
    warmup: int = Field(0, ge=0)
    """Steps in which the rate first rises linearly from 0."""


class Schedule(Part, ABC):
    """The learning rate over the steps of a run: lr * min(1, (step + 1) / warmup) * factor(step, steps).

    One is made for each module. A schedule that listens to what a run records overrides `recorded`, and `state` and
    `restore` too, so that an interrupted run resumes with the same rates.
    """

    kind = "schedule"
    Config: ClassVar[type[PartConfig]] = ScheduleConfig
    constant: ClassVar[bool] = False
    """Whether the factor is 1 at every step; the rate is then not recorded, unless there is a warmup."""

    def __init__(self, config: PartConfig) -> None:
        """Hold the settings."""
        self.config: Any = config

    @abstractmethod
    def factor(self, step: int, steps: int) -> float:
        """The factor of the learning rate at a step, finite and at least 0; depends on nothing else but the state.

        Args:
            step: 0 for the first step.
            steps: the number of steps of the whole run.
        """

    def recorded(self, metrics: Mapping[str, float | None]) -> None:
        """Hear a line of metrics.jsonl, every `run.log_every` steps; by default this does nothing.

        A last line of fewer steps is not heard. A run whose schedules override this keeps its `run.log_every`.

        Args:
            metrics: `step`, `seconds`, and means since the last line by names such as `autoencode/encoder/loss`; None
                for a mean that is not finite. All processes that share a batch hear the line of the first one.

        Raises:
            PlanError: the metric that the schedule needs is not recorded.
        """

    def state(self) -> dict[str, Any]:
        """What `recorded` has changed, as JSON can hold it, for a checkpoint; by default nothing."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; by default this does nothing."""


ScheduleSpec = Annotated[
    SerializeAsAny[PartConfig], PlainValidator(pick("schedule")), WithJsonSchema({"part": "schedule"})
]
"""A field that takes a table whose `name` selects the schedule; without a name it is the default one."""


class OptimiserConfig(PartConfig):
    """The settings of an optimiser; nest a subclass called `Config` in the optimiser."""

    model_config = ConfigDict(allow_inf_nan=False)
    lr: float = Field(2e-4, gt=0)
    """Learning rate."""
    weight_decay: float = Field(0.0, ge=0)
    """L2 penalty, as torch.optim adds it to the gradient."""
    schedule: ScheduleSpec | None = None
    """The schedule of the learning rate; constant if not given."""


class StackedWeights(ABC):
    """A module with parameters that hold the tensors of several layers, because one product is faster than many.

    Inherit it beside `nn.Module`. An optimiser that treats each tensor as a whole, as by its norm, can tell such layers
    apart.
    """

    @property
    @abstractmethod
    def stacked(self) -> Mapping[str, Sequence[int]]:
        """The numbers of rows (along dimension 0) of the stacked tensors, by the parameter's name in this module."""


class Optimiser(Part, ABC):
    """Moves the parameters of one module along their gradients.

    It makes a `torch.optim.Optimizer`. That object holds everything that its steps change in `state` and in numbers,
    booleans or texts of `param_groups`, which are written to checkpoints; and it must not ask a tensor for its value
    (`.item()`, `if tensor:`), which would wait for the device at each step.
    """

    kind = "optimiser"
    Config: ClassVar[type[PartConfig]] = OptimiserConfig
    elementwise: ClassVar[bool] = False
    """Whether each number moves by its own gradients and its group's settings alone, so that what `build` makes of the
    parameters of several modules moves them, bit for bit, as one for each module would. Modules of equal settings then
    share it, and a phase calls it once."""

    def __init__(self, config: PartConfig) -> None:
        """Hold the settings."""
        self.config: Any = config

    @abstractmethod
    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser of one module.

        Before each step, the `lr` of each of its groups is set to the one it had when it was built, times the factor of
        the schedule.

        Args:
            parameters: the module's parameters by their names in it, such as `net.0.weight`, on the device.
        """

    def build_for(self, module: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of one module, which training calls; by default `build` of its parameters.

        Override it too where layers matter, such as those that are `StackedWeights`.

        Args:
            module: the module, on the device.
        """
        return self.build(dict(module.named_parameters()))

    def evaluation_weights(
        self, optimiser: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
    ) -> Mapping[str, Tensor]:
        """Weights that draw samples and are scored, where they differ from those in training; by default none.

        They are used wherever the model is evaluated, and written to checkpoints beside those of training. Parameters
        that are not named are evaluated as trained. Nothing is modified; the same names come back at any time, also
        before the first step.

        Args:
            optimiser: the one that `build` returned.
            parameters: the parameters that it was built with.

        Returns:
            Tensors of the shape, dtype and device of the parameters, by their names.
        """
        return {}


OptimiserSpec = Annotated[
    SerializeAsAny[OptimiserConfig], PlainValidator(pick("optimiser")), WithJsonSchema({"part": "optimiser"})
]
"""A field that takes a table whose `name` selects the optimiser; without a name it is the default one."""
