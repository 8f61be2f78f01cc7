"""Measures scores and lists their table columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from genprior.errors import DataError, ScoreError
from genprior.parts import Column, ImageSet, Score, ScoreContext

__all__ = ["columns_of", "measure_all", "needed_split"]


def columns_of(scores: Sequence[Score]) -> dict[str, Column]:
    """The table columns of these scores, by result key; `real_` values and spreads have no columns."""
    return {column.key: column for score in scores for column in score.columns or _own_column(score)}


def _own_column(score: Score) -> tuple[Column, ...]:
    return (Column(score.name, score.name, score.higher_is_better),)


def needed_split(score: Score, split: str, load: Callable[[str], ImageSet]) -> ImageSet:
    """A split that a score reads.

    Args:
        score: the score; its `needs` contains advice for missing splits.
        split: the name of the split.
        load: reads a split of the data set.

    Raises:
        DataError: the split does not exist, and the score has no advice.
        ScoreError: the split does not exist; the message contains the score's advice.
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
        scores: the scores to measure.
        context: the images and the model.
        label: the label of the row, for messages.

    Returns:
        The results of all scores by key, finite.

    Raises:
        ScoreError: a score cannot be computed, is not finite, or has the same result key as another one.
    """
    counts = [score.samples for score in scores if score.samples is not None]
    if counts:
        context.generated(max(counts))
    results: dict[str, float] = {}
    written_by: dict[str, str] = {}
    for score in scores:
        try:
            values = score.measure(context)
        except ScoreError as error:
            raise ScoreError(f"{label}: score '{score.name}': {error}") from error
        for key, value in values.items():
            if key in written_by:
                raise ScoreError(
                    f"{label}: scores '{written_by[key]}' and '{score.name}' both write '{key}', so one number would "
                    "hide the other; keep one of the two, or give them different extractors"
                )
            if not math.isfinite(value):
                raise ScoreError(
                    f"{label}: score '{score.name}' is not finite: {key} = {value}; look at the images: the "
                    "network may have diverged, or too few images differ"
                )
            written_by[key] = score.name
            results[key] = float(value)
    return results
