"""trackio: a run in the local database of the library, or in a Space of the Hugging Face hub."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from torch import Tensor

from genprior_std.hooks.tracker import Described, Tracker

__all__ = ["Trackio"]


class Trackio(Tracker):
    """A run of trackio, in the library's local database, which `trackio show` serves.

    The database is in the folder TRACKIO_DIR, by default in the cache of the Hugging Face hub: the library has one for
    all runs of a process.

    Raises:
        PlanError: the package trackio is not installed.
    """

    name = "trackio"
    package = "trackio"
    extra = "trackio"

    class Config(Tracker.Config):
        """Settings of trackio."""

        project: str = "genprior"
        """The project."""
        space: str | None = None
        """A Space of the Hugging Face hub, `user/name`, to which the run is sent; nothing leaves the machine if not
        given."""

    def begin(self, run: Described, folder: Path, *, resumed: bool) -> None:
        """Open the run under a name that holds its id, since the library finds runs by their names."""
        import trackio

        self._trackio: Any = trackio
        local = self.config.space is None
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            if local:  # the library would ask the hub for the name of a user whose token is stored
                # Where a version lacks this function, the error is a warning and nothing is asked.
                stack.enter_context(mock.patch("trackio.run._get_default_namespace", lambda: None))
            self._run: Any = trackio.init(
                project=self.config.project,
                name=f"{run.name} {run.id}",
                group=run.tags["recipe"] or None,
                space_id=self.config.space,
                config={"tags": run.tags, **run.config},
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def send(self, numbers: Mapping[str, float], step: int) -> None:
        """Log numbers."""
        self._run.log(dict(numbers), step=step)

    def send_grid(self, grid: Tensor, step: int) -> None:
        """Log an image."""
        self._run.log({"samples": self._trackio.Image(grid.permute(1, 2, 0).numpy())}, step=step)

    def end(self, state: Literal["finished", "interrupted", "failed"]) -> None:
        """Wait until all is written."""
        from trackio import context_vars

        with contextlib.redirect_stdout(io.StringIO()):
            self._run.finish()
        if context_vars.current_run.get() is self._run:  # the library would print and finish it again at exit
            context_vars.current_run.set(None)
