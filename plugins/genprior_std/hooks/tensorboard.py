"""TensorBoard: event files of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from genprior import LocalPath
from genprior_std.hooks.tracker import Described, Tracker, flattened

__all__ = ["TensorBoard"]


class TensorBoard(Tracker):
    """Event files for TensorBoard, in the run's folder `tensorboard`: `tensorboard --logdir runs` shows all runs.

    Scalars are the records and the scores, images the sample grids, hyperparameters the settings of the resolved
    recipe, and texts the recipe and the tags.

    Raises:
        PlanError: the package tensorboard is not installed.
    """

    name = "tensorboard"
    package = "tensorboard"
    extra = "tensorboard"

    class Config(Tracker.Config):
        """Settings of TensorBoard."""

        folder: LocalPath | None = None
        """A log folder for several runs, with a folder of its own for each run; the run's folder if not given."""

    def begin(self, run: Described, folder: Path, *, resumed: bool) -> None:
        """Open an event file; steps after the last one that was sent are purged."""
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        own = self.config.folder
        place = folder if own is None else Path(own) / f"{run.name} {run.id}".replace("/", "_")
        purge = {"purge_step": self.last_step + 1} if resumed else {}
        self._writer: Any = SummaryWriter(str(place), **purge)
        if not resumed:
            self._writer.add_text("recipe", f"```toml\n{run.recipe}\n```")
            for key, value in run.tags.items():
                self._writer.add_text(f"tag/{key}", value)
            # `add_hparams` would write a run of its own beside this one.
            summaries: Any = hparams({**dict(flattened(run.config)), **run.tags}, {})  # type: ignore[no-untyped-call]
            events: Any = self._writer.file_writer
            for summary in summaries:
                events.add_summary(summary)
        self._writer.flush()

    def send(self, numbers: Mapping[str, float], step: int) -> None:
        """Write scalars."""
        for key, value in numbers.items():
            self._writer.add_scalar(key, value, step)
        self._writer.flush()

    def send_grid(self, grid: Tensor, step: int) -> None:
        """Write an image."""
        self._writer.add_image("samples", grid, step)
        self._writer.flush()

    def end(self, state: Literal["finished", "interrupted", "failed"]) -> None:
        """Close the event file."""
        self._writer.close()
