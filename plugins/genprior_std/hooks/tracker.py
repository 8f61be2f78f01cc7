"""Trackers: what the hooks that send a run to an experiment tracker share."""

from __future__ import annotations

import functools
import importlib.util
import json
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field
from torch import Tensor

from genprior import GenpriorError, Hook, HookConfig, PlanError, TrainingRun, printable, whole_file

__all__ = ["Described", "Tracker", "flattened"]

_FILE = "tracked.json"
_SLOW = 1.0
"""Seconds above which a failing tracker is slow."""
_PAUSE = 20.0
"""For how many times as long as a slow failure took the tracker is left alone, so that it takes 5 % of the time."""


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
    numbers, and are not sent again. Records that could not be sent are sent before the next ones.
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
        self._paused_until = 0.0

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
        if metrics is not None and self._is_new("metrics", step) and time.monotonic() >= self._paused_until:
            self._send_records(run, {**metrics, "step": step})

    def sampled(self, run: TrainingRun, step: int, images: Tensor) -> None:
        """Send a grid of samples, ten a row."""
        if self._is_new("samples", step) and time.monotonic() >= self._paused_until:
            # Importing torchvision takes longer than torch; commands that track nothing should not wait for it.
            from torchvision.utils import make_grid

            grid = make_grid(printable(images), nrow=10, padding=2)
            self._try("samples", step, lambda: self.send_grid(grid, step))

    def evaluated(self, run: TrainingRun, scores: Mapping[str, float]) -> None:
        """Send the scores, as `score/NAME`, and before them all records that are left."""
        if self._is_new("scores", run.step):
            self._send_records(run)
            numbers = {f"score/{name}": float(value) for name, value in scores.items()}
            self._try("scores", run.step, lambda: self.send(numbers, run.step))

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

    def _send_records(self, run: TrainingRun, *more: Mapping[str, float]) -> None:
        """Send the records of the run that could not be sent before, in their order, and `more`."""
        sent = self._state.get("metrics", 0)
        unsent = takewhile(lambda line: line["step"] > sent, reversed(run.metrics))
        records: dict[int, dict[str, Any]] = {}
        for line in (*more, *unsent):  # a step may have two lines: a record, and a measurement of early stopping
            records[int(line["step"])] = {**line, **records.get(int(line["step"]), {})}
        for step, record in sorted(records.items()):
            numbers = {key: float(value) for key, value in record.items() if key != "step" and value is not None}
            self._try("metrics", step, functools.partial(self.send, numbers, step))

    def _try(self, kind: str, step: int, call: Callable[[], None]) -> None:
        """Call the tracker; after a slow failure, as of a server that does not answer, it is left alone for a while."""
        began = time.monotonic()
        try:
            call()
        except Exception:
            now = time.monotonic()
            if now - began > _SLOW:
                self._paused_until = now + _PAUSE * (now - began)
            raise
        self._state[kind] = step
        self._keep()

    def _is_new(self, kind: str, step: int) -> bool:
        """Whether the tracker is open and lacks this step; if it could not be opened, one warning has told so."""
        return self._open and step > self._state.get(kind, 0)

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
