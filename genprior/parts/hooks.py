"""Hooks: what a plugin does beside training, such as drawing pictures or sending records to a tracker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import PlainValidator, SerializeAsAny, ValidationInfo, WithJsonSchema
from torch import Tensor

from genprior.parts.base import Part, PartConfig
from genprior.parts.training_run import TrainingRun

__all__ = ["DEFAULT_SAMPLES", "Hook", "HookConfig", "HookSpec"]

DEFAULT_SAMPLES = 100
"""Images that are drawn for a hook without a setting `samples`, and for hook functions."""


class HookConfig(PartConfig):
    """The settings of a hook, `[run.hooks.NAME]` in a recipe; nest a subclass called `Config` in the hook."""

    enabled: bool = True
    """Whether the hook is called."""
    on_error: Literal["stop", "warn"] = "stop"
    """What an exception of the hook does: end the run with a checkpoint, or be a warning, once for each text."""


class Hook(Part):
    """Is called while a run is trained, and changes nothing of it.

    A recipe turns a hook on by naming it. One is made for each run, and also when a recipe is checked: so `__init__`
    has no effects, and raises `PlanError` where a package or a password is missing. All methods do nothing by default;
    only those that a hook overrides are called. A run that was interrupted starts again from its last checkpoint, so
    the steps after `run.step` come a second time.

    After a step the methods are called in this order: `step_done`, `epoch_done`, `sampled`, `checkpoint_written`.
    """

    kind = "hook"
    Config: ClassVar[type[PartConfig]] = HookConfig
    on_by_default: ClassVar[bool] = False
    """Whether the hook is also called, with the defaults of its settings, in runs whose recipe does not name it."""
    rehearsed: ClassVar[bool] = False
    """Whether a recipe's check calls the methods too, in a temporary folder, on a model that has taken one step.

    State it for a hook without effects outside `run.folder`, so that its mistakes show before training. Its pictures
    and files of the check are thrown away.
    """

    def __init__(self, config: PartConfig) -> None:
        """Remember the settings."""
        self.config: Any = config

    @property
    def samples(self) -> int:
        """The number of images that `sampled` gets: the setting `samples`, or 100 where it has no such setting."""
        return int(self.config.samples) if "samples" in type(self.config).model_fields else DEFAULT_SAMPLES

    def started(self, run: TrainingRun) -> None:
        """A run starts or resumes, after `run.step` steps."""

    def step_done(self, run: TrainingRun, step: int, metrics: Mapping[str, float] | None) -> None:
        """`step` steps are done; `metrics` is None, or what was written to metrics.jsonl after this step.

        That is every `run.log_every` steps, and every `run.stop.every` steps the measurement of early stopping.
        """

    def epoch_done(self, run: TrainingRun, epoch: int) -> None:
        """`epoch` epochs are done: each visits every training image once, without the last batch if it is partial."""

    def sampled(self, run: TrainingRun, step: int, images: Tensor) -> None:
        """Samples were drawn, every `run.sample_every` steps and after the last one, if the model makes images.

        Args:
            run: the run.
            step: the number of finished steps.
            images: uint8 [samples, c, h, w] on the host, the same codes each time. All hooks share one drawing.
        """

    def checkpoint_written(self, run: TrainingRun, path: Path) -> None:
        """A checkpoint was written: the tensors at `path`, a .safetensors, and a .json of the same name beside it."""

    def evaluated(self, run: TrainingRun, scores: Mapping[str, float]) -> None:
        """Scores were measured, by name; not called in a run without scores."""

    def finished(self, run: TrainingRun, scores: Mapping[str, float]) -> None:
        """A run is trained and scored."""

    def interrupted(self, run: TrainingRun) -> None:
        """The user stopped the run after `run.step` steps, with a checkpoint. An exception is only a warning."""

    def failed(self, run: TrainingRun, error: BaseException) -> None:
        """An error ended the run: a loss that is not finite, or what a part raised. An exception is only a warning."""


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
