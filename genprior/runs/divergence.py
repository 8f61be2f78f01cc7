"""What a run says of steps that were not finite and of damaged checkpoints."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

from genprior.engine.divergence import LIMIT, Skipped
from genprior.errors import GenpriorWarning

__all__ = ["explanation", "warn_of_damaged", "warn_of_skipped"]


def explanation(first: str | None, skipped: Skipped | None, checkpoint: int | None) -> str:
    """The sentences of a `NotFinite` on what was not finite first, what became of the weights, and how to go on.

    Args:
        first: what was not finite first, if it was found; see `genprior.engine.look_again.first_not_finite`.
        skipped: the steps that were left out, if `run.on_divergence` is "skip".
        checkpoint: the step of the newest checkpoint; None if there is none.
    """
    text = f"First was {first}. " if first is not None else ""
    if skipped is not None:
        begin = skipped.last - skipped.in_a_row + 1
        text += f"Steps {begin} to {skipped.last} were left out, more than {LIMIT} in a row. "
    text += "No weights were updated with it. "
    if checkpoint is not None:
        text += f"The last good checkpoint is kept; the same command resumes from its step {checkpoint}. "
    else:
        text += "There is no checkpoint yet; the same command starts anew. "
    if skipped is None:
        text += "With --set 'run.on_divergence=\"skip\"' it leaves out such updates. "
    return text


def warn_of_damaged(moved: Iterable[Path]) -> None:
    """Warn of damaged checkpoints that were moved aside."""
    for path in moved:
        warnings.warn(f"the damaged checkpoint {path.stem} was moved to {path.parent}", GenpriorWarning, stacklevel=2)


def warn_of_skipped(row: str, skipped: Skipped, steps: int) -> None:
    """Warn of a run that left out updates."""
    if skipped.total:
        warnings.warn(
            f"{row}: updates were left out in {skipped.total} of {steps} steps, the last in step {skipped.last}, "
            "because losses or gradients were not finite (run.on_divergence); see skipped_steps in its metrics.jsonl",
            GenpriorWarning,
            stacklevel=2,
        )
