"""Settings of optimisers and learning rate schedules: a class for each method, with only the settings that it uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, SerializeAsAny, WithJsonSchema, model_validator

from genprior.errors import did_you_mean

__all__ = [
    "AdamConfig",
    "AdamNormGradConfig",
    "ConstantSchedule",
    "CosineSchedule",
    "LinearSchedule",
    "MethodConfig",
    "OptimiserConfig",
    "OptimiserSpec",
    "PiecewiseSchedule",
    "RmspropConfig",
    "ScheduleConfig",
    "ScheduleSpec",
    "SgdConfig",
    "StepSchedule",
    "inherited",
    "without_foreign",
]


class MethodConfig(BaseModel):
    """Settings that a name selects among the subclasses of one family: the optimisers, or the schedules."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
    default: ClassVar[str] = ""
    """The method of a table without a name; stated by the base class of a family."""
    methods: ClassVar[dict[str, type[MethodConfig]]] = {}
    """The classes of the family by name."""
    name: str = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Start a family with a class that states a default, or add a class to the family of its base."""
        super().__init_subclass__(**kwargs)
        if "default" in cls.__dict__:
            cls.methods = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Enter a method under its name."""
        if "default" not in cls.__dict__:
            cls.methods[cls.model_fields["name"].default] = cls

    @classmethod
    def chosen_by(cls, table: Any) -> type[MethodConfig] | None:
        """The class that a table of settings selects; None if its name is not one of the family's."""
        name = table.get("name", cls.default) if isinstance(table, Mapping) else cls.default
        return cls.methods.get(name) if isinstance(name, str) else None

    @classmethod
    def having(cls, key: str) -> list[str]:
        """The methods of the family that have this setting."""
        return [name for name, each in cls.methods.items() if key in each.model_fields]


def _pick(family: type[MethodConfig]) -> Callable[[Any], MethodConfig]:
    def validate(value: Any) -> MethodConfig:
        if isinstance(value, family):
            return value
        if not isinstance(value, Mapping):
            raise ValueError(f'a table of settings is needed, such as {{ name = "{family.default}" }}; got {value!r}')
        chosen = family.chosen_by(value)
        if chosen is None:
            name = str(value["name"])
            raise ValueError(f"there is no method named '{name}'{did_you_mean(name, family.methods)}")
        return chosen.model_validate(dict(value))

    return validate


# ---------------------------------------------------------------------------------------------------------------------
# Schedules
# ---------------------------------------------------------------------------------------------------------------------


class ScheduleConfig(MethodConfig):
    """The schedule of the learning rate over the steps of a run."""

    default = "constant"
    warmup: int = Field(0, ge=0)
    """Steps in which the rate first rises linearly from 0."""


class ConstantSchedule(ScheduleConfig):
    """The rate stays at `lr`."""

    name: Literal["constant"] = "constant"


class LinearSchedule(ScheduleConfig):
    """The rate falls linearly from `lr` to `lr * final`."""

    name: Literal["linear"] = "linear"
    final: float = Field(0.0, ge=0, le=1)
    """The final learning rate, as a share of `lr`."""


class CosineSchedule(ScheduleConfig):
    """The rate falls from `lr` to `lr * final` along half a cosine."""

    name: Literal["cosine"] = "cosine"
    final: float = Field(0.0, ge=0, le=1)
    """The final learning rate, as a share of `lr`."""


class StepSchedule(ScheduleConfig):
    """The rate is multiplied by `factor` every `every` steps."""

    name: Literal["step"] = "step"
    factor: float = Field(0.1, gt=0, le=1)
    """The factor of each multiplication."""
    every: int = Field(10_000, gt=0)
    """Steps between two multiplications."""


class PiecewiseSchedule(ScheduleConfig):
    """The rate is `lr` times the next of `factors` from each step of `at` on."""

    name: Literal["piecewise"] = "piecewise"
    at: tuple[int, ...] = ()
    """Increasing step numbers at which the rate changes to its next factor."""
    factors: tuple[Annotated[float, Field(ge=0)], ...] = ()
    """The factors, from each step of `at` on; before the first of them the factor is 1."""

    @model_validator(mode="after")
    def _a_factor_for_each_step(self) -> PiecewiseSchedule:
        if len(self.at) != len(self.factors) or list(self.at) != sorted(set(self.at)) or min(self.at, default=1) < 1:
            raise ValueError(
                f"`at` needs increasing steps from 1 on, and `factors` one number for each of them; got at = "
                f"{list(self.at)} and factors = {list(self.factors)}"
            )
        return self


ScheduleSpec = Annotated[
    SerializeAsAny[ScheduleConfig], PlainValidator(_pick(ScheduleConfig)), WithJsonSchema({"type": "object"})
]
"""A field that takes a table whose `name` selects the schedule."""

# ---------------------------------------------------------------------------------------------------------------------
# Optimisers
# ---------------------------------------------------------------------------------------------------------------------


class OptimiserConfig(MethodConfig):
    """The optimiser of one module."""

    default = "adam"
    lr: float = Field(2e-4, gt=0)
    """Learning rate."""
    weight_decay: float = Field(0.0, ge=0)
    """L2 penalty, as torch.optim adds it to the gradient."""
    schedule: ScheduleSpec = ConstantSchedule()
    """The schedule of the learning rate."""


_Decay = Annotated[float, Field(ge=0, lt=1)]


class AdamConfig(OptimiserConfig):
    """Adam, as torch.optim implements it."""

    name: Literal["adam"] = "adam"
    betas: tuple[_Decay, _Decay] = (0.5, 0.999)
    """Decay of the first and second moments."""
    eps: float = Field(1e-8, gt=0)
    """The number that is added to the root of the second moment."""


class AdamNormGradConfig(OptimiserConfig):
    """Adam on gradients of norm 1."""

    name: Literal["adam_norm_grad"] = "adam_norm_grad"
    betas: tuple[_Decay, _Decay] = (0.5, 0.999)
    """Decay of the first and second moments."""
    eps: float = Field(1e-8, gt=0)
    """The number that is added to the root of the second moment."""


class SgdConfig(OptimiserConfig):
    """Stochastic gradient descent, as torch.optim implements it."""

    name: Literal["sgd"] = "sgd"
    momentum: float = Field(0.0, ge=0, lt=1)
    """Share of the last step that the next one repeats."""


class RmspropConfig(OptimiserConfig):
    """RMSProp, as torch.optim implements it."""

    name: Literal["rmsprop"] = "rmsprop"
    momentum: float = Field(0.0, ge=0, lt=1)
    """Share of the last step that the next one repeats."""
    eps: float = Field(1e-8, gt=0)
    """The number that is added to the root of the second moment."""


OptimiserSpec = Annotated[
    SerializeAsAny[OptimiserConfig], PlainValidator(_pick(OptimiserConfig)), WithJsonSchema({"type": "object"})
]
"""A field that takes a table whose `name` selects the optimiser."""

# ---------------------------------------------------------------------------------------------------------------------
# Tables
# ---------------------------------------------------------------------------------------------------------------------


def inherited(default: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a module's optimiser: its own, and those of `default` that its method has."""
    whole = {**default, **own}
    chosen = OptimiserConfig.chosen_by(whole)
    if chosen is None or chosen is OptimiserConfig.chosen_by(default):
        return whole
    return {key: value for key, value in whole.items() if key in own or key in chosen.model_fields}


def without_foreign(table: Any, family: type[MethodConfig] = OptimiserConfig) -> Any:
    """The settings of an optimiser or schedule without those of other methods, which never had an effect.

    Older versions wrote all settings of all methods into the resolved recipes of run folders.
    """
    chosen = family.chosen_by(table)
    if not isinstance(table, Mapping) or chosen is None:
        return table
    kept = {key: value for key, value in table.items() if key in chosen.model_fields or not family.having(key)}
    if "schedule" in kept:
        kept["schedule"] = without_foreign(kept["schedule"], ScheduleConfig)
    return kept
