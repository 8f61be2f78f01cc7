"""Weights & Biases: a run, offline unless the recipe asks for the network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from genprior import LocalPath
from genprior_std.hooks.tracker import Described, Tracker

__all__ = ["WeightsAndBiases"]

_TAG = 64
"""The most characters of a tag."""


class WeightsAndBiases(Tracker):
    """A run of Weights & Biases; offline by default, in the run's folder `wandb`, and `wandb sync` uploads it.

    The steps of training are the metric `step`, the horizontal axis of all others. The machine's load, its console and
    the state of git are not recorded.

    Raises:
        PlanError: the package wandb is not installed.
    """

    name = "wandb"
    package = "wandb"
    extra = "wandb"

    class Config(Tracker.Config):
        """Settings of Weights & Biases."""

        project: str = "genprior"
        """The project."""
        entity: str | None = None
        """The user or team of the project; the user's default one if not given."""
        mode: Literal["offline", "online"] = "offline"
        """Whether the run is written to files alone, or is sent over the network as it is trained."""
        folder: LocalPath | None = None
        """The folder of the files; the run's folder if not given."""

    def begin(self, run: Described, folder: Path, *, resumed: bool) -> None:
        """Open the run under its id."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self._wandb: Any = wandb
        self._run: Any = wandb.init(
            project=self.config.project,
            entity=self.config.entity,
            mode=self.config.mode,
            dir=str(self.config.folder or folder.parent),  # the library adds `wandb`
            id=run.id,
            name=run.name,
            group=run.tags["recipe"][:_TAG] or None,
            tags=[f"{key}: {value}"[:_TAG] for key, value in run.tags.items()],
            config={**run.config, "seed": int(run.tags["seed"])},
            resume="allow",
            reinit="finish_previous",
            save_code=False,
            settings=wandb.Settings(
                console="off", silent=True, disable_git=True, disable_code=True, x_disable_stats=True
            ),
        )
        self._run.define_metric("*", step_metric="step")

    def send(self, numbers: Mapping[str, float], step: int) -> None:
        """Log numbers."""
        self._run.log({**numbers, "step": step})

    def send_grid(self, grid: Tensor, step: int) -> None:
        """Log an image."""
        self._run.log({"samples": self._wandb.Image(grid.permute(1, 2, 0).numpy()), "step": step})

    def end(self, state: Literal["finished", "interrupted", "failed"]) -> None:
        """Close the run; 255 is the exit code that the library gives an interrupted one."""
        self._run.finish(exit_code={"finished": 0, "interrupted": 255, "failed": 1}[state])
