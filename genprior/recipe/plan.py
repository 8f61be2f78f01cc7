"""A plan: one row of a recipe, resolved whole and typed."""

from __future__ import annotations

from collections.abc import Mapping
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
    model_validator,
)
from pydantic_core import InitErrorDetails

from genprior.parts import DatasetSpec, HookConfig, HookSpec, ModelSpec, ScoreSpec
from genprior.recipe.optimiser import OptimiserConfig
from genprior.registry import Registry, installed

__all__ = ["Plan", "RunConfig"]


class RunConfig(BaseModel):
    """How a row is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    steps: int = Field(gt=0)
    """Training steps; each runs every phase that is due."""
    batch: int = Field(64, gt=0)
    """Images a step, over all ranks."""
    labels: Annotated[int, Field(ge=1, strict=True)] | Annotated[float, Field(gt=0, lt=1)] | None = None
    """How many training images keep their label, or, below 1, which share of them: as many of each class, drawn under
    the seed; all if not given."""
    labelled_batch: int | None = Field(None, gt=0)
    """Labelled images a step where `labels` is given, over all ranks; as many as `batch`, or as there are, if not."""
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    """One run for each seed."""
    shift: int = Field(0, ge=0)
    """Move each training image by up to so many pixels, across and down, drawn anew each time; black comes in."""
    rotate: float = Field(0.0, ge=0, le=180)
    """Turn each training image by up to so many degrees, either way, drawn anew each time."""
    zoom: float = Field(0.0, ge=0, lt=1)
    """Scale each training image by a factor of 1 - zoom to 1 + zoom, drawn anew each time."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of the averaged weights (and batch statistics) of the generating modules; they then make the samples."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of the forward passes; `auto` is bf16 autocast where the hardware gains from it, and fp32 elsewhere."""
    checkpoint_every: int = Field(1000, gt=0)
    """Steps between checkpoints."""
    log_every: int = Field(50, gt=0)
    """Steps between lines of metrics.jsonl."""
    sample_every: int = Field(1000, gt=0)
    """Steps between sample grids."""
    hooks: dict[str, HookSpec] = {}
    """Settings of the hooks that hear of the run, by their names; those that are on by default need not be named."""

    @model_validator(mode="before")
    @classmethod
    def _all_hooks_named(cls, table: Any, info: ValidationInfo) -> Any:
        """Add the hooks that are on by default, and tell each table of settings whose it is."""
        registry = (info.context or {}).get("registry")
        if registry is None or not isinstance(table, Mapping) or not isinstance(table.get("hooks", {}), Mapping):
            return table
        hooks: dict[str, Any] = registry.hooks_by_default()
        for name, settings in table.get("hooks", {}).items():
            if isinstance(settings, Mapping) and settings.get("name", name) != name:
                wrong = ValueError(f"names another hook than its table, '{name}'; leave it out")
                where = InitErrorDetails(type="value_error", loc=("hooks", name, "name"), input=0, ctx={"error": wrong})
                raise ValidationError.from_exception_data(cls.__name__, [where])
            hooks[name] = {**settings, "name": name} if isinstance(settings, Mapping) else settings
        return {**table, "hooks": hooks}

    @field_serializer("hooks")
    def _hooks_without_names(self, hooks: dict[str, HookConfig], info: FieldSerializationInfo) -> dict[str, Any]:
        """Leave out the name of a hook, which its table has already."""
        nulls, defaults = info.exclude_none, info.exclude_defaults
        return {
            name: each.model_dump(mode=info.mode, exclude={"name"}, exclude_none=nulls, exclude_defaults=defaults)
            for name, each in hooks.items()
        }

    @property
    def augmentation(self) -> dict[str, Any]:
        """What is done to each training image."""
        return {"shift": self.shift, "rotate": self.rotate, "zoom": self.zoom}


class Plan(BaseModel):
    """One row of a recipe with all its changes applied."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    title: str = ""
    """What the recipe shows."""
    label: str
    """The row's name."""
    run: RunConfig
    """How it is trained."""
    data: DatasetSpec
    """On which images."""
    scores: tuple[ScoreSpec, ...] = ()
    """How it is scored."""
    optimiser: dict[str, OptimiserConfig]
    """`default`, and any module's own."""
    model: ModelSpec
    """What is trained."""

    @model_validator(mode="before")
    @classmethod
    def _upgrade(cls, table: Any, info: ValidationInfo) -> Any:
        """Say a row that an older version resolved in today's words; see `Part.upgrade`."""
        registry: Registry | None = (info.context or {}).get("registry")
        if registry is not None and isinstance(table, Mapping):
            for part in registry.all():
                table = part.upgrade(table)
        return table

    def optimiser_of(self, module: str) -> OptimiserConfig:
        """The optimiser settings of a module: its own, else the default's."""
        return self.optimiser.get(module, self.optimiser["default"])

    def as_table(self) -> dict[str, Any]:
        """The plan as TOML can say it: nested tables without nulls."""
        table: dict[str, Any] = self.model_dump(mode="json", exclude_none=True)
        return table

    def as_toml(self) -> str:
        """The plan as a TOML text."""
        return tomlkit.dumps(self.as_table())

    def differences(self, other: dict[str, Any], registry: Registry | None = None) -> list[str]:
        """What would make training differ from a resolved plan read from a run folder, a line each.

        Scores, seeds, hooks and how often things are written may differ. A setting that the other plan does not have,
        for it is older than the setting, stands for its default. What has another name by now is the same.

        Args:
            other: the other plan, as its version wrote it.
            registry: where its parts are found; the installed ones by default.
        """
        other = _in_todays_words(other, registry or installed())
        mine, theirs = _leaves(_training_part(self.as_table())), _leaves(_training_part(other))
        chosen = self.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        by_default = mine.keys() - _leaves(_training_part(chosen)).keys()
        return [
            f"{path}: was {theirs.get(path, 'absent')!r}, is {mine.get(path, 'absent')!r}"
            for path in sorted(mine.keys() | theirs.keys())
            if mine.get(path, "absent") != theirs.get(path, "absent")
            and not (
                path in by_default and path not in theirs and any(_under(path, other_path) for other_path in theirs)
            )
        ]


def _in_todays_words(table: dict[str, Any], registry: Registry) -> dict[str, Any]:
    """A resolved plan as this version would write it; as it stands where that is not known, for parts are missing."""
    try:
        plan = Plan.model_validate(table, context={"registry": registry})
    except ValidationError:
        return table
    # A setting that the table does not have stays absent.
    return plan.model_dump(mode="json", exclude_none=True, exclude_unset=True)


def _under(path: str, other: str) -> bool:
    """Whether both are settings of one table."""
    return path.rpartition(".")[0] == other.rpartition(".")[0]


def _training_part(table: dict[str, Any]) -> dict[str, Any]:
    run = {
        k: v
        for k, v in table.get("run", {}).items()
        if k in ("steps", "batch", "labels", "labelled_batch", "shift", "rotate", "zoom", "ema", "precision")
    }
    return {key: table.get(key, {}) for key in ("data", "model", "optimiser")} | {"run": run}


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {
            key: leaf
            for name, each in value.items()
            for key, leaf in _leaves(each, f"{path}.{name}" if path else name).items()
        }
    return {path: value}
