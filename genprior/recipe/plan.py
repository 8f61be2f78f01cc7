"""Plan: the resolved and typed settings of one row of a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tomlkit
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FieldSerializationInfo,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails

from genprior.errors import PlanError
from genprior.parts import (
    DatasetSpec,
    HookConfig,
    HookSpec,
    ModelSpec,
    OptimiserConfig,
    OptimiserSpec,
    Part,
    Schedule,
    ScoreSpec,
)
from genprior.recipe.early_stopping import StopConfig
from genprior.recipe.optimiser import without_foreign
from genprior.registry import Registry, installed

__all__ = ["KeepConfig", "Plan", "RunConfig", "upgraded"]

_OF_TRAINING = (
    "steps", "batch", "labels", "labelled_batch", "shift", "rotate", "zoom", "ema", "clip_norm", "clip_value",
    "precision", "stop",
)  # fmt: skip
"""The settings of `run` that training depends on."""

_NOT_GIVEN: Any = None


class KeepConfig(BaseModel):
    """Which checkpoints of a run stay."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    last: int = Field(2, ge=1)
    """The newest so many."""
    every: int | None = Field(None, ge=1)
    """Also those whose step is a multiple of this; none if not given."""


class RunConfig(BaseModel):
    """Training settings of a row."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    epochs: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Passes over the training images instead of `steps`, which become ceil(epochs * images / batch)."""
    steps: int = Field(default_factory=lambda: _NOT_GIVEN, gt=0, validate_default=True)
    """Training steps, if `epochs` is not given; each runs every phase that is due."""
    batch: int = Field(64, gt=0)
    """Images per step, over all ranks."""
    labels: Annotated[int, Field(ge=1, strict=True)] | Annotated[float, Field(gt=0, lt=1)] | None = None
    """The number of training images that keep their label, or, below 1, their share; equally many of each class, drawn
    under the seed. All images keep their label if not given."""
    labelled_batch: int | None = Field(None, gt=0)
    """Labelled images per step if `labels` is given, over all ranks; by default `batch`, or all if there are fewer."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1)
    """One run for each seed."""
    shift: int = Field(0, ge=0)
    """Move each training image by up to this many pixels, across and down, drawn at each step; black margins."""
    rotate: float = Field(0.0, ge=0, le=180)
    """Rotate each training image by up to this many degrees, either way, drawn at each step."""
    zoom: float = Field(0.0, ge=0, lt=1)
    """Scale each training image by a factor of 1 - zoom to 1 + zoom, drawn at each step."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of the averaged weights (and batch statistics) of the generating modules, which then draw the samples."""
    clip_norm: float | None = Field(None, gt=0, allow_inf_nan=False)
    """The largest norm of a module's gradients: longer ones are scaled down, after averaging over ranks and before the
    optimiser. Recorded gradient norms are those before. No limit if not given."""
    clip_value: float | None = Field(None, gt=0, allow_inf_nan=False)
    """The largest absolute value of an entry of a gradient, after `clip_norm`. No limit if not given."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of the forward passes; `auto` is bf16 autocast if the hardware supports it, else fp32."""
    checkpoint_every: int = Field(1000, gt=0)
    """Steps between checkpoints."""
    keep: KeepConfig = KeepConfig()
    """Which checkpoints stay: the newest `last`, and those at multiples of `every` steps."""
    on_divergence: Literal["stop", "skip"] = "stop"
    """After a loss or gradient that is not finite: `stop`, or `skip` the updates of that phase and go on."""
    stop: StopConfig | None = None
    """Early stopping; `steps` are then the most that are trained. None if not given."""
    log_every: int = Field(50, gt=0)
    """Steps between lines of metrics.jsonl."""
    sample_every: int = Field(1000, gt=0)
    """Steps between sample grids."""
    hooks: dict[str, HookSpec] = {}
    """Settings of hooks, by their names; hooks that are on by default need not be named."""
    skip_hook_functions: tuple[str, ...] = ()
    """Plugins, by the names of their entry points, whose hook functions such as `genprior_step_done` are not called."""

    @field_validator("steps", mode="before")
    @classmethod
    def _or_epochs(cls, steps: Any, info: ValidationInfo) -> Any:
        """Refuse both units of the length of training, and neither; 1 stands for steps that are not known yet."""
        epochs = info.data.get("epochs", 1)  # it is absent if it is wrong
        if steps is None and epochs is None:
            raise ValueError("is missing: give run.steps, or run.epochs, which counts passes over the training images")
        if steps is not None and info.data.get("epochs") is not None:
            raise ValueError(f"run.steps = {steps} and run.epochs = {epochs} both say how long to train; leave one out")
        return 1 if steps is None else steps

    @model_validator(mode="before")
    @classmethod
    def _all_hooks_named(cls, table: Any, info: ValidationInfo) -> Any:
        """Add the hooks that are on by default, and add the name of the hook to each table of settings."""
        registry = (info.context or {}).get("registry")
        if registry is None or not isinstance(table, Mapping) or not isinstance(table.get("hooks", {}), Mapping):
            return table
        hooks: dict[str, Any] = registry.hooks_by_default()
        for name, settings in table.get("hooks", {}).items():
            if isinstance(settings, Mapping) and settings.get("name", name) != name:
                wrong = ValueError(f"differs from the hook of the table, '{name}'; leave the name out")
                where = InitErrorDetails(type="value_error", loc=("hooks", name, "name"), input=0, ctx={"error": wrong})
                raise ValidationError.from_exception_data(cls.__name__, [where])
            hooks[name] = {**settings, "name": name} if isinstance(settings, Mapping) else settings
        return {**table, "hooks": hooks}

    @field_serializer("hooks")
    def _hooks_without_names(self, hooks: dict[str, HookConfig], info: FieldSerializationInfo) -> dict[str, Any]:
        """Leave out the name of a hook, which is the key of its table."""
        nulls, defaults = info.exclude_none, info.exclude_defaults
        return {
            name: each.model_dump(mode=info.mode, exclude={"name"}, exclude_none=nulls, exclude_defaults=defaults)
            for name, each in hooks.items()
        }

    @property
    def augmentation(self) -> dict[str, Any]:
        """The augmentation settings, as arguments of the batches."""
        return {"shift": self.shift, "rotate": self.rotate, "zoom": self.zoom}


class Plan(BaseModel):
    """One row of a recipe with all its changes applied."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    title: str = ""
    """The title of the recipe."""
    label: str
    """The row's name."""
    run: RunConfig
    """Training settings."""
    data: DatasetSpec
    """The data set."""
    scores: tuple[ScoreSpec, ...] = ()
    """The scores to measure after training."""
    optimiser: dict[str, OptimiserSpec]
    """Optimiser settings: `default`, and those of single modules."""
    model: ModelSpec
    """The model with its parts."""

    @model_validator(mode="before")
    @classmethod
    def _upgrade(cls, table: Any, info: ValidationInfo) -> Any:
        """Upgrade a row that an older version resolved; see `Part.upgrade`.

        A row that is resolved now, with `written` in the context, keeps settings of other optimisers than the chosen
        one, which are mistakes there.
        """
        context = info.context or {}
        registry: Registry | None = context.get("registry")
        if registry is None or not isinstance(table, Mapping):
            return table
        model = table.get("model")
        if isinstance(model, Mapping) and isinstance(model.get("name"), str):
            for part in registry.all():
                table = _upgraded_by(part, table)
        return table if context.get("written") else _without_foreign(table, registry)

    def optimiser_of(self, module: str) -> OptimiserConfig:
        """The optimiser settings of a module: its own if given, else the default."""
        return self.optimiser.get(module, self.optimiser["default"])

    def check_optimisers(self, modules: Iterable[str], trained: Iterable[str]) -> None:
        """Refuse optimiser settings for a module that the model does not have and that is no setting of it either.

        Args:
            modules: the names of the model's modules.
            trained: those with parameters.

        Raises:
            PlanError: there is no such module.
        """
        unknown = sorted(self.optimiser.keys() - {*modules, "default"})
        absent = [name for name in unknown if name not in type(self.model).model_fields]
        if absent:
            raise PlanError(
                f"optimiser.{absent[0]} is not a module of model '{self.model.name}'. "
                f"Possible: default, {', '.join(trained)}"
            )

    def check_averages(self, roles: Iterable[str], evaluated: Iterable[str]) -> None:
        """Refuse averaged weights of a module whose optimiser has weights of its own for evaluation.

        Args:
            roles: the modules whose weights `run.ema` averages.
            evaluated: the parameters with such weights, by `module.parameter`.

        Raises:
            PlanError: names the module and its optimiser.
        """
        both = sorted({name.partition(".")[0] for name in evaluated} & set(roles))
        if self.run.ema is not None and both:
            raise PlanError(
                f"run.ema averages the weights of '{both[0]}' for evaluation, and so does its optimiser "
                f"'{self.optimiser_of(both[0]).name}', which would have no effect. Leave run.ema out, or choose "
                f"another optimiser.{both[0]}"
            )

    def as_table(self) -> dict[str, Any]:
        """The plan as nested tables without nulls, as TOML requires."""
        table: dict[str, Any] = self.model_dump(mode="json", exclude_none=True)
        return table

    def as_toml(self) -> str:
        """The plan as a TOML text."""
        return tomlkit.dumps(self.as_table())

    def lasting(self, steps: int) -> Plan:
        """The plan with another number of steps."""
        return self.model_copy(update={"run": self.run.model_copy(update={"steps": steps})})

    def differences(self, other: dict[str, Any], registry: Registry | None = None) -> list[str]:
        """The settings in which training differs from a resolved plan of a run folder, one line each.

        Scores, seeds, hooks and intervals of writing are not compared, but for `run.log_every` where a schedule hears
        the records. A setting that is newer than the other plan counts as its default there. Renamed settings are the
        same.

        Args:
            other: the other plan, as written by the version that resolved it.
            registry: the registry of its parts; the installed parts by default.
        """
        other = upgraded(other, registry or installed())
        hears = self._hears_records()
        also, why = ("log_every",) if hears else (), {"run.log_every": f", and schedule '{hears}' hears each record"}
        mine, theirs = _leaves(_training_part(self.as_table(), also)), _leaves(_training_part(other, also))
        chosen = self.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        by_default = mine.keys() - _leaves(_training_part(chosen, also)).keys()
        return [
            f"{path}: was {theirs.get(path, 'absent')!r}, is {mine.get(path, 'absent')!r}{why.get(path, '')}"
            for path in sorted(mine.keys() | theirs.keys())
            if mine.get(path, "absent") != theirs.get(path, "absent")
            and not (
                path in by_default and path not in theirs and any(_under(path, other_path) for other_path in theirs)
            )
        ]

    def _hears_records(self) -> str:
        """The name of a schedule that follows what is recorded, every `run.log_every` steps; empty if there is none."""
        parts = [config.schedule.part for config in self.optimiser.values() if config.schedule is not None]
        hearing = (p for p in parts if issubclass(p, Schedule) and p.recorded is not Schedule.recorded)
        return next((part.name for part in hearing), "")


def _upgraded_by(part: type[Part], table: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row after `Part.upgrade` of one part; the row as it was if that fails, because most rows do not need it."""
    try:
        upgraded = part.upgrade(table)
    except Exception:  # a plugin's mistake in one part must not stop the recipes that do not use it
        return table
    return upgraded if isinstance(upgraded, Mapping) else table


def upgraded(table: Mapping[str, Any], registry: Registry, folder: Path | None = None) -> dict[str, Any]:
    """A resolved plan as this version would write it; unchanged if parts of it are not installed.

    Args:
        table: the plan, as written by the version that resolved it.
        registry: the registry of its parts.
        folder: where its relative paths begin; the current directory by default.
    """
    try:
        plan = Plan.model_validate(table, context={"registry": registry, "folder": folder})
    except ValidationError:
        return _without_foreign(table, registry)
    # A setting that the table does not have stays absent.
    return plan.model_dump(mode="json", exclude_none=True, exclude_unset=True)


def _without_foreign(table: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    """A row without the settings of other optimisers and schedules than the chosen ones; see `without_foreign`."""
    optimiser = table.get("optimiser")
    if not isinstance(optimiser, Mapping):
        return dict(table)
    return {**table, "optimiser": {module: without_foreign(own, registry) for module, own in optimiser.items()}}


def _under(path: str, other: str) -> bool:
    """Whether both paths are in the same table."""
    return path.rpartition(".")[0] == other.rpartition(".")[0]


def _training_part(table: dict[str, Any], also: tuple[str, ...] = ()) -> dict[str, Any]:
    run = {k: v for k, v in table.get("run", {}).items() if k in _OF_TRAINING or k in also}
    return {key: table.get(key, {}) for key in ("data", "model", "optimiser")} | {"run": run}


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {
            key: leaf
            for name, each in value.items()
            for key, leaf in _leaves(each, f"{path}.{name}" if path else name).items()
        }
    return {path: value}
