"""What a run says of steps that were not finite and of damaged checkpoints."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

from genprior.engine.divergence import LIMIT, Skipped
from genprior.engine.look_again import First
from genprior.errors import GenpriorWarning
from genprior.registry import Registry

__all__ = ["explanation", "warn_of_damaged", "warn_of_skipped"]


def explanation(
    first: First | None,
    skipped: Skipped | None,
    checkpoint: int | None,
    *,
    step: int,
    trained: bool,
    module: str,
    optimiser: str,
    registry: Registry,
    settings: str = "",
) -> str:
    """The sentences of a `NotFinite` on what was not finite first, what became of the weights, and how to go on.

    Args:
        first: what was not finite first, if it was found; see `genprior.engine.look_again.first_not_finite`.
        skipped: the steps that were left out, if `run.on_divergence` is "skip".
        checkpoint: the step of the newest checkpoint; None if there is none.
        step: the step in question, 0 for the first.
        trained: whether weights were updated before.
        module: the module whose learning rate may have caused it.
        optimiser: its key in the table of optimisers.
        registry: names the plugins of parts.
        settings: the table of settings of optimisers, with a dot, such as `run.fit.`; empty for those of the row.
    """
    text = f"First was {_named(first, registry)}. " if first is not None else ""
    if skipped is not None:
        begin = skipped.last - skipped.in_a_row + 1
        text += f"Steps {begin} to {skipped.last} were left out, more than {LIMIT} in a row. "
    text += "No weights were updated with it. "
    precision = f"under bf16, try --set '{settings or 'run.'}precision=\"fp32\"'."
    if not trained:
        cause = (
            "what that part computes" if first is not None and first.part is not None else "the parts' first weights"
        )
        return (
            f"{text}No step was taken before, so the cause is no learning rate, but {cause}, the settings or the "
            f"images; or, {precision}"
        )
    if checkpoint is not None:
        text += f"The last good checkpoint is kept; the same command resumes from its step {checkpoint}. "
    elif step:
        text += "There is no checkpoint yet; the same command starts anew. "
    if skipped is None:
        text += "With --set 'run.on_divergence=\"skip\"' it leaves out such updates. "
    return f"{text}Lower the learning rate of '{module}' ({settings}optimiser.{optimiser}.lr) or, {precision}"


def _named(first: First, registry: Registry) -> str:
    """What was not finite first, with the plugin and the line of the part that returned it."""
    if first.part is None or not registry.offers(first.part):
        return first.text
    return f"{first.text}, at {first.place} of {registry.origin(first.part)}"


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
