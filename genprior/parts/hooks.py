"""Hooks: what a plugin does beside training, such as drawing pictures or sending records to a tracker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import PlainValidator, SerializeAsAny, ValidationInfo, WithJsonSchema

from genprior.parts.base import Part, PartConfig
from genprior.parts.training_run import TrainingRun

__all__ = ["Hook", "HookConfig", "HookSpec"]


class HookConfig(PartConfig):
    """The settings of a hook, `[run.hooks.NAME]` in a recipe; nest a subclass called `Config` in the hook."""

    enabled: bool = True
    """Whether the hook is called."""
    on_error: Literal["stop", "warn"] = "stop"
    """What an exception of the hook does: end the run with a checkpoint, or be a warning, once for each text."""


class Hook(Part):
    """Hears of a run while it is trained, and changes nothing of it.

    A recipe turns a hook on by naming it. One is made for each run, and also when a recipe is checked: so `__init__`
    has no effects, and raises `PlanError` where a package or a password is missing. A run that was interrupted starts
    again from its last checkpoint, so the steps after `run.step` come a second time.
    """

    kind = "hook"
    Config: ClassVar[type[PartConfig]] = HookConfig
    on_by_default: ClassVar[bool] = False
    """Whether the hook is also called, with the defaults of its settings, in runs whose recipe does not name it."""

    def __init__(self, config: PartConfig) -> None:
        """Remember the settings."""
        self.config: Any = config

    def started(self, run: TrainingRun) -> None:
        """A run starts or resumes, after `run.step` steps."""

    def step_done(self, run: TrainingRun, step: int, metrics: Mapping[str, float] | None) -> None:
        """`step` steps are done; `metrics` is None, or every `run.log_every` steps the line of metrics.jsonl."""

    def finished(self, run: TrainingRun, scores: Mapping[str, float]) -> None:
        """A run is trained and scored."""


def _configured(value: Any, info: ValidationInfo) -> PartConfig:
    """The settings of the hook that a table names."""
    if isinstance(value, HookConfig):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(f"a table of the hook's settings is needed, such as {{ enabled = false }}; got {value!r}")
    registry = (info.context or {}).get("registry")
    if registry is None:
        raise ValueError("a hook given as a table needs a registry; use genprior.load_recipe, or pass a Config")
    config: PartConfig = registry.configure("hook", value, info.context)
    return config


HookSpec = Annotated[SerializeAsAny[HookConfig], PlainValidator(_configured), WithJsonSchema({"part": "hook"})]
"""A field of this type takes the settings of a hook, with its name."""
