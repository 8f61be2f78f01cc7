"""Measures scores, and says which columns a table needs for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from genprior.errors import DataError, ScoreError
from genprior.parts import Column, ImageSet, Score, ScoreContext

__all__ = ["columns_of", "measure_all", "needed_split"]


def columns_of(scores: Sequence[Score]) -> dict[str, Column]:
    """How a table shows the results of these scores, by key; `real_` values and spreads are not columns."""
    return {column.key: column for score in scores for column in score.columns}


def needed_split(score: Score, split: str, load: Callable[[str], ImageSet]) -> ImageSet:
    """A split that a score reads.

    Args:
        score: whose `needs` says what to do where there is none.
        split: its name.
        load: gives a split of the data set.

    Raises:
        DataError: there is no such split.
        ScoreError: there is none, and the score says what to do.
    """
    try:
        return load(split)
    except DataError as error:
        if split not in score.needs:
            raise
        raise ScoreError(f"it needs the split '{split}': {error}. {score.needs[split]}") from error


def measure_all(scores: Sequence[Score], context: ScoreContext, label: str) -> dict[str, float]:
    """Measure every score and merge the results.

    The generated images are sampled once, for the largest `samples` among the scores.

    Args:
        scores: what to measure.
        context: where images come from.
        label: whose images they are, for messages.

    Returns:
        The results of all scores by key, finite.

    Raises:
        ScoreError: a score cannot be computed, is not finite, or writes a key that another one wrote.
    """
    counts = [score.samples for score in scores if score.samples is not None]
    if counts:
        context.generated(max(counts))
    results: dict[str, float] = {}
    written_by: dict[str, str] = {}
    for score in scores:
        try:
            found = score.measure(context)
        except ScoreError as error:
            raise ScoreError(f"{label}: score '{score.name}': {error}") from error
        for key, value in found.items():
            if key in written_by:
                raise ScoreError(
                    f"{label}: scores '{written_by[key]}' and '{score.name}' both write '{key}', so one number would "
                    "hide the other; keep one of the two, or give them different extractors"
                )
            if not math.isfinite(value):
                raise ScoreError(
                    f"{label}: score '{score.name}' came out as {key} = {value}; look at the images: a network that "
                    "diverged, or too few different images, has no score"
                )
            written_by[key] = score.name
            results[key] = float(value)
    return results
