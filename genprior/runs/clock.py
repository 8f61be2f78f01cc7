"""Measures the training time of a run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

__all__ = ["Clock"]


class Clock:
    """Seconds of training over all sessions of a run that was resumed, without the time of hooks."""

    def __init__(self, before: float) -> None:
        """Begin a session after `before` seconds of earlier sessions."""
        self._before = before
        self._began = time.perf_counter()

    @property
    def running(self) -> float:
        """Seconds of this session."""
        return time.perf_counter() - self._began

    @property
    def total(self) -> float:
        """Seconds of all sessions."""
        return self._before + self.running

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the time inside the block."""
        paused = time.perf_counter()
        yield
        self._began += time.perf_counter() - paused
