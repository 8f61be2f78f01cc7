"""Refuses, before any training, run folders that hold runs of another recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genprior.errors import RunError, listed
from genprior.runs.folder import STEPS, RunFolder, hint_of_steps
from genprior.runs.jobs import Job

__all__ = ["changed_settings", "refuse_changed"]


def changed_settings(jobs: Sequence[Job]) -> list[str]:
    """The settings in which the runs in the folders of jobs differ from these, a line each, with the rows."""
    changed: dict[str, list[str]] = {}
    for job in jobs:
        try:
            lines = RunFolder(job.folder).differences(job.plan)
        except RunError:
            continue  # damaged: the run raises the same error itself
        for line in lines:
            changed.setdefault(line, []).append(job.name)
    return [f"{line} [row {listed(names)}]" for line, names in changed.items()]


def refuse_changed(jobs: Sequence[Job], out: Path, *, lengthened: bool = False) -> None:
    """Check before training that no folder holds a run of another recipe.

    Args:
        jobs: the rows to train.
        out: the folder of the table, for the message.
        lengthened: allow another number of steps; see `genprior.runs.lengthen`.

    Raises:
        RunError: a recipe differs; the message lists the changes and their rows.
    """
    changed = [line for line in changed_settings(jobs) if not (lengthened and line.startswith(STEPS))]
    if changed:
        lines = "\n".join(f"  {line}" for line in changed)
        raise RunError(
            f"{out} holds runs of another recipe:\n{lines}\n"
            "Nothing was changed. Give another --out, or remove the folders of those runs to train anew."
            f"{hint_of_steps(changed) if all(job.first is None for job in jobs) else ''}"
        )
