"""Measures scores and lists their table columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import torch

from genprior.errors import DataError, ScoreError, in_a_sentence
from genprior.parts import Column, ImageSet, Score, ScoreContext
from genprior.scoring.context import SampleContext

__all__ = ["absent_numbers", "columns_of", "lacks_columns", "measure_all", "needed_split", "undeclared", "why_absent"]


def columns_of(scores: Sequence[Score]) -> dict[str, Column]:
    """The table columns of these scores, by result key; `real_` values and spreads have no columns.

    Raises:
        ScoreError: a score declares something else than columns.
    """
    return {column.key: column for score in scores for column in _checked_columns(score)}


def _checked_columns(score: Score) -> Sequence[Column]:
    columns: Any = score.columns or (Column(score.name, score.name, score.higher_is_better),)
    wrong: Any = None if isinstance(columns, Sequence) else columns
    for column in columns if wrong is None else ():
        if not isinstance(column, Column) or not (isinstance(column.key, str) and isinstance(column.title, str)):
            wrong = column
            break
    if wrong is not None:
        raise ScoreError(
            f"score '{score.name}' declares the column {wrong!r}; `columns` is a tuple of "
            'genprior.Column(key, title, higher_is_better), such as Column("recall", "recall", True)'
        )
    checked: Sequence[Column] = columns
    return checked


def why_absent(score: Score, column: Column) -> str:
    """Why a score that was measured has no number in one of its columns."""
    reason = f": {column.absent}" if column.absent else ""
    return f"score '{score.name}' was measured, and gave no '{column.key}' here{reason}"


def absent_numbers(scores: Sequence[Score], values: Mapping[str, float]) -> dict[str, str]:
    """Why the results of measured scores lack columns, by their keys."""
    return {
        column.key: why_absent(score, column)
        for score in scores
        for column in _checked_columns(score)
        if column.key not in values
    }


def lacks_columns(score: Score, values: Mapping[str, float]) -> bool:
    """Whether results have a number in none of a score's columns, though not all of its columns may be absent."""
    columns = columns_of([score])
    return not any(key in values for key in columns) and not all(column.absent for column in columns.values())


def undeclared(score: Score, values: Mapping[str, float]) -> str | None:
    """What is wrong with results that are in none of a score's columns; None if one is, or if all may be absent."""
    columns = columns_of([score])
    keys = list(columns)
    if not values or not lacks_columns(score, values):
        return None
    example = ", ".join(f'Column("{key}", "{key}", True)' for key in list(values)[:2])
    return (
        f"score '{score.name}' returned {', '.join(values)}, and none of the columns that it declares: "
        f"{', '.join(keys)}. So a table would not show it: declare columns = ({example},) in the class, from "
        "genprior.Column"
    )


def needed_split(score: Score, split: str, load: Callable[[str], ImageSet]) -> ImageSet:
    """A split that a score reads.

    Args:
        score: the score; its `needs` contains advice for missing splits.
        split: the name of the split.
        load: reads a split of the data set.

    Raises:
        DataError: the split does not exist, and the score has no advice.
        ScoreError: the split does not exist; the message contains the score's advice. Or it is `validation`, the score
            chooses something by it, and the split that it scores holds the same images.
    """
    try:
        images = load(split)
    except DataError as error:
        if split not in score.needs:
            raise
        raise ScoreError(f"it needs the split '{split}': {in_a_sentence(error)}. {score.needs[split]}") from error
    scored = score.facts(next(iter(columns_of([score]))), {}).get("split", "test")
    if split == "validation" and split != scored and _are_equal(images, load, scored):
        raise ScoreError(
            f"it chooses something by the images of the split '{split}' and scores those of '{scored}', which are the "
            f'same images here, as with test_split = "{split}" in [data]; leave test_split out, or the score, '
            f"or choose settings with which it does not read '{split}'"
        )
    return images


def _are_equal(images: ImageSet, load: Callable[[str], ImageSet], split: str) -> bool:
    """Whether a split has the same images and labels; not if there is no such split."""
    try:
        other = load(split)
    except DataError:
        return False
    return torch.equal(images.images, other.images) and torch.equal(images.labels, other.labels)


def measure_all(
    scores: Sequence[Score], context: ScoreContext, label: str, networks: MutableMapping[str, str] | None = None
) -> dict[str, float]:
    """Measure every score and merge the results.

    The generated images are sampled once, for the largest `samples` among the scores.

    Args:
        scores: the scores to measure.
        context: the images and the model.
        label: the label of the row, for messages.
        networks: takes the keys of the networks whose features a result is of, joined by " and ", by the result's key.

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
        if isinstance(context, SampleContext):
            context.extractors.clear()
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
        if networks is not None and isinstance(context, SampleContext) and context.extractors:
            used = " and ".join(context.extractors)
            networks.update({key: used for key in columns_of([score]) if key in values})
    return results
