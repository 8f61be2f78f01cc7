"""Trackers: what the hooks that send a run to an experiment tracker share."""

from __future__ import annotations

import importlib.util
import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field
from torch import Tensor

from genprior import GenpriorError, Hook, HookConfig, PlanError, TrainingRun, printable, whole_file

__all__ = ["Described", "Tracker", "flattened"]

_FILE = "tracked.json"


class Described(NamedTuple):
    """A run, as trackers name it."""

    id: str
    """Eight hexadecimal digits, drawn when the run is first tracked and kept when it is resumed."""
    name: str
    """The row and the seed."""
    tags: dict[str, str]
    """`recipe`, `row` and `seed`."""
    config: dict[str, Any]
    """The resolved recipe, as nested tables."""
    recipe: str
    """The same as a TOML text."""


def flattened(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """The entries of nested tables, with keys such as `model.encoder.name`; lists are JSON."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", json.dumps(value) if isinstance(value, list | tuple) else value


class Tracker(Hook, ABC):
    """Sends metrics, sample grids, scores and the resolved recipe to an experiment tracker.

    `tracked.json`, in the hook's folder below the run's, holds the id of the run in the tracker and the last steps
    that were sent. A resumed run continues the same run there. Steps that are trained a second time give the same
    numbers, and are not sent again.
    """

    package: ClassVar[str]
    """The module of the tracker's library."""
    extra: ClassVar[str]
    """The extra of genprior that installs it."""

    class Config(HookConfig):
        """Settings of all trackers."""

        on_error: Literal["stop", "warn"] = "warn"
        """What an exception of the tracker does: by default it is a warning, once for each text."""
        samples: int = Field(100, ge=1)
        """Images in a grid of samples."""

    def __init__(self, config: Any) -> None:
        """Hold the settings; the library is imported when a run starts.

        Raises:
            PlanError: the library is not installed.
        """
        super().__init__(config)
        if importlib.util.find_spec(self.package) is None:
            raise PlanError(
                f"hook '{self.name}' needs the package {self.package}, which is not installed: "
                f'pip install "genprior[{self.extra}]". Without it, set run.hooks.{self.name}.enabled = false'
            )
        self._open = False
        self._file = Path()
        self._state: dict[str, Any] = {}

    # -----------------------------------------------------------------------------------------------------------------
    # What each tracker does
    # -----------------------------------------------------------------------------------------------------------------

    @abstractmethod
    def begin(self, run: Described, folder: Path, *, resumed: bool) -> None:
        """Open the run in the tracker.

        Args:
            run: the run.
            folder: the hook's folder below the run's.
            resumed: whether it was opened before; then the tracker continues it.
        """

    @abstractmethod
    def send(self, numbers: Mapping[str, float], step: int) -> None:
        """Record numbers of a step."""

    @abstractmethod
    def send_grid(self, grid: Tensor, step: int) -> None:
        """Record a grid of samples, uint8 [3, H, W]."""

    @abstractmethod
    def end(self, state: Literal["finished", "interrupted", "failed"]) -> None:
        """Close the run in the tracker, so that all is written."""

    # -----------------------------------------------------------------------------------------------------------------
    # What a run calls
    # -----------------------------------------------------------------------------------------------------------------

    def started(self, run: TrainingRun) -> None:
        """Open the run in the tracker, or continue it."""
        folder = run.folder / self.name
        folder.mkdir(exist_ok=True)
        self._file = folder / _FILE
        resumed = self._file.exists()
        self._state = _read(self._file) if resumed else {"id": secrets.token_hex(4)}
        table = run.plan.as_table()
        tags = {"recipe": run.plan.title, "row": run.plan.label, "seed": str(run.seed)}
        name = f"{run.plan.label} seed {run.seed}"
        described = Described(self._state["id"], name, tags, table, run.plan.as_toml())
        self.begin(described, folder, resumed=resumed)
        self._keep()
        self._open = True

    def step_done(self, run: TrainingRun, step: int, metrics: Mapping[str, float] | None) -> None:
        """Send a new record: losses, gradient norms, notes and learning rates."""
        if metrics is not None and self._is_new("metrics", step):
            numbers = {key: float(value) for key, value in metrics.items() if key != "step" and value is not None}
            self.send(numbers, step)
            self._sent("metrics", step)

    def sampled(self, run: TrainingRun, step: int, images: Tensor) -> None:
        """Send a grid of samples, ten a row."""
        if self._is_new("samples", step):
            # Importing torchvision takes longer than torch; commands that track nothing should not wait for it.
            from torchvision.utils import make_grid

            self.send_grid(make_grid(printable(images), nrow=10, padding=2), step)
            self._sent("samples", step)

    def evaluated(self, run: TrainingRun, scores: Mapping[str, float]) -> None:
        """Send the scores, as `score/NAME`."""
        if self._is_new("scores", run.step):
            self.send({f"score/{name}": float(value) for name, value in scores.items()}, run.step)
            self._sent("scores", run.step)

    def finished(self, run: TrainingRun, scores: Mapping[str, float]) -> None:
        """Close the run in the tracker."""
        self._close("finished")

    def interrupted(self, run: TrainingRun) -> None:
        """Close the run in the tracker, to be continued."""
        self._close("interrupted")

    def failed(self, run: TrainingRun, error: BaseException) -> None:
        """Close the run in the tracker as failed."""
        self._close("failed")

    def _close(self, state: Literal["finished", "interrupted", "failed"]) -> None:
        if self._open:
            self._open = False
            self.end(state)

    def _is_new(self, kind: str, step: int) -> bool:
        """Whether the tracker is open and lacks this step; if it could not be opened, one warning has told so."""
        return self._open and step > self._state.get(kind, 0)

    def _sent(self, kind: str, step: int) -> None:
        self._state[kind] = step
        self._keep()

    def _keep(self) -> None:
        with whole_file(self._file) as partial:
            partial.write_text(json.dumps(self._state) + "\n", encoding="utf-8")

    @property
    def last_step(self) -> int:
        """The last step of which anything was sent; 0 for a new run."""
        return max((value for key, value in self._state.items() if key != "id"), default=0)


def _read(path: Path) -> dict[str, Any]:
    """The content of `tracked.json`.

    Raises:
        GenpriorError: it is damaged.
    """
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(state["id"], str) and all(isinstance(v, int) for k, v in state.items() if k != "id"):
            return dict(state)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise GenpriorError(f"{path} is damaged; remove it, and the tracker has a new run from here on")
