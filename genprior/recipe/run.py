"""Settings of training, `[run]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    FieldSerializationInfo,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails

from genprior.parts import HookConfig, HookSpec, SettingsTable
from genprior.recipe.early_stopping import StopConfig
from genprior.recipe.fit import FitConfig

__all__ = ["KeepConfig", "RunConfig"]

_NOT_GIVEN: Any = None


class KeepConfig(SettingsTable):
    """Which checkpoints of a run stay."""

    last: int = Field(2, ge=1)
    """The newest so many."""
    every: int | None = Field(None, ge=1)
    """Also those whose step is a multiple of this; none if not given."""


class RunConfig(SettingsTable):
    """Training settings of a row."""

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
    """Decay of the averaged weights (and batch statistics) of the generating modules, which then draw the samples: an
    average over the last 1 / (1 - ema) steps or so."""
    ema_share: float | None = Field(None, gt=0, le=1)
    """The largest share of the steps so far that the average is over: with `ema` a cap for short runs, alone the whole
    rule. No cap if not given; weights are averaged if this or `ema` is given."""
    clip_norm: float | None = Field(None, gt=0, allow_inf_nan=False)
    """The largest norm of a module's gradients: longer ones are scaled down, after averaging over ranks and before the
    optimiser. Recorded gradient norms are those before. No limit if not given."""
    clip_value: float | None = Field(None, gt=0, allow_inf_nan=False)
    """The largest absolute value of an entry of a gradient, after `clip_norm`. No limit if not given."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of the forward passes; `auto` is bf16 autocast where it is faster: on a CPU as measured, on a GPU that
    multiplies in it. A resumed run keeps its precision."""
    sync_batch_norm: bool = False
    """Batch normalisation by the statistics of the whole batch where several processes share it (`torchrun`), not by
    those of the slice of each process; without effect in one process."""
    graph: Literal["auto", "on", "off"] = "auto"
    """Whether the phases of a step are captured as one CUDA graph: `auto` does where there is CUDA, and a warning says
    why it cannot; `on` warns of other devices too."""
    compile: bool = False
    """Whether torch.compile fuses the networks inside of the phases. It takes up to minutes before the first step, less
    once the cache has the code, and did not pay on a CPU. Losses are those without, up to rounding."""
    checkpoint_every: int = Field(1000, gt=0)
    """Steps between checkpoints."""
    keep: KeepConfig = KeepConfig()
    """Which checkpoints stay: the newest `last`, and those at multiples of `every` steps."""
    on_divergence: Literal["stop", "skip"] = "stop"
    """After a loss or gradient that is not finite: `stop`, or `skip` the updates of that phase and go on."""
    fit: FitConfig | None = None
    """The second stage of rows with a `fitted_prior`; its defaults if not given."""
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
    def averaging(self) -> tuple[float | None, float | None] | None:
        """The decay and the share of averaged weights; None if weights are not averaged."""
        return None if self.ema is None and self.ema_share is None else (self.ema, self.ema_share)

    @property
    def augmentation(self) -> dict[str, Any]:
        """The augmentation settings, as arguments of the batches."""
        return {"shift": self.shift, "rotate": self.rotate, "zoom": self.zoom}
