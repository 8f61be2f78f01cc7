"""How long a run has trained."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

__all__ = ["Clock"]


class Clock:
    """Seconds of training, over all sittings of a run, without what is spent on pictures."""

    def __init__(self, before: float) -> None:
        """Begin a sitting, `before` seconds into the run."""
        self._before = before
        self._began = time.perf_counter()

    @property
    def running(self) -> float:
        """Seconds of this sitting."""
        return time.perf_counter() - self._began

    @property
    def total(self) -> float:
        """Seconds of all sittings."""
        return self._before + self.running

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the seconds that are spent inside the block."""
        paused = time.perf_counter()
        yield
        self._began += time.perf_counter() - paused
