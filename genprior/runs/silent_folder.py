"""The run folder of a process that shares a training with the first one, which writes it."""

from __future__ import annotations

from typing import Any

from genprior.runs.folder import RunFolder

__all__ = ["SilentFolder"]


class SilentFolder(RunFolder):
    """Reads the folder of a run, and writes no records into it."""

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Write nothing."""
