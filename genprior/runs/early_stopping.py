"""Early stopping: a score of validation images, measured every so many steps, of which the best checkpoint is kept.

Measurements draw under a seed of their own and change nothing of training, so a run that never stops early is the run
without `[run.stop]`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch

from genprior.engine.ranks import of_first_rank
from genprior.errors import DataError, ScoreError, did_you_mean
from genprior.parts import Column, ImageSet, Score
from genprior.randomness import derive, seeded
from genprior.recipe.early_stopping import StopConfig
from genprior.recipe.plan import Plan
from genprior.runs.row_training import RowTraining
from genprior.scoring.context import SampleContext
from genprior.scoring.measure import columns_of
from genprior.storage.cache import cache_folder

__all__ = ["EarlyStopping", "is_measurement", "refuse_unmeasurable", "ran_out_of_patience", "watched_column"]

PREFIX = "validation/"
"""How the names of measurements begin in metrics.jsonl; those of phases have their own names there."""
FEW = 24
"""Validation images on which a recipe's check measures the score."""


class EarlyStopping:
    """The measurements of a run so far: the best one, and how many have followed the last improvement.

    A measurement is an improvement if it is better than the last improvement by more than `min_delta`, and the best one
    if it is better than all before it. One that is not finite is neither.
    """

    def __init__(self, config: StopConfig | None, seed: int) -> None:
        """Begin without measurements; without settings nothing is measured."""
        self._config = config
        self._seed = seed
        self._improved: float | None = None
        self._waited = 0
        self.best_step: int | None = None
        self.best_value: float | None = None

    @cached_property
    def _watched(self) -> tuple[StopConfig, Score, Column]:
        if self._config is None:
            raise ValueError("a run without [run.stop] measures nothing")
        score: Score = self._config.score.make()
        return self._config, score, watched_column(score, self._config.column)

    @property
    def over(self) -> bool:
        """Whether patience has run out, so that training stops."""
        return self._config is not None and self._waited >= self._config.patience

    def due(self, step: int) -> bool:
        """Whether a measurement is due after this many steps."""
        return self._config is not None and step % self._config.every == 0

    def measure(self, run: RowTraining) -> dict[str, float | None]:
        """Measure after the step that `run` has done.

        Returns:
            The measurement, by its name in metrics.jsonl; None if it is not finite.

        Raises:
            ScoreError: the score cannot be measured.
        """
        config, score, column = self._watched
        validation = _Validation(run.images, config.images, self._seed)
        try:
            measured = _measured(score, column, run, validation)
        except ScoreError as error:
            where = f"row '{run.plan.label}', step {run.step}"
            raise ScoreError(f"{where}: run.stop.score '{score.name}': {error}") from error
        value = of_first_rank(measured)
        better = 1 if column.higher_is_better else -1
        finite = math.isfinite(value)
        if finite and (self.best_value is None or better * (value - self.best_value) > 0):
            self.best_step, self.best_value = run.step, value
        if finite and (self._improved is None or better * (value - self._improved) > config.min_delta):
            self._improved, self._waited = value, 0
        else:
            self._waited += 1
        return {f"{PREFIX}{column.key}": value if finite else None}

    # ----------------------------------------------------------------------------------------------------------------
    # Checkpoints and records
    # ----------------------------------------------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """What a checkpoint holds: `best_step`, which keeps that checkpoint, and the state of the measurements."""
        if self._config is None:
            return {}
        best = {} if self.best_step is None else {"best_step": self.best_step, "best_value": self.best_value}
        state = {"waited": self._waited, "improved": self._improved}
        return {**best, "early_stopping": state}

    def restore(self, facts: Mapping[str, Any]) -> None:
        """Resume from what `facts` returned."""
        if self._config is not None:
            state = facts["early_stopping"]
            self.best_step, self.best_value = facts.get("best_step"), facts.get("best_value")
            self._waited, self._improved = state["waited"], state["improved"]

    def outcome(self, step: int, steps: int) -> dict[str, Any]:
        """What run.json says after `step` of `steps` steps: `stopped_step`, None if it did not stop before the end."""
        if self._config is None:
            return {}
        stopped = step if self.over and step < steps else None
        best = {"best_step": self.best_step, "best_value": self.best_value}
        return {"stopped_step": stopped, **best, "best_of": self._watched[2].key}


def ran_out_of_patience(config: StopConfig | None, facts: Mapping[str, Any]) -> bool:
    """Whether a run stops at the checkpoint with these facts, whatever its number of steps."""
    return config is not None and facts["early_stopping"]["waited"] >= config.patience


def is_measurement(record: Mapping[str, Any]) -> bool:
    """Whether a line of metrics.jsonl is a measurement of early stopping."""
    return len(record) == 3 and any(name.startswith(PREFIX) for name in record)  # its step, seconds and number


def watched_column(score: Score, named: str | None) -> Column:
    """The column of a score that decides.

    Args:
        score: the score.
        named: the setting `run.stop.column`.

    Raises:
        ScoreError: there is no such column, or there are several and none is named.
    """
    columns = columns_of([score])
    listed = ", ".join(f'"{key}"' for key in columns)
    if named is None and len(columns) > 1 and score.name not in columns:
        raise ScoreError(f"it has several columns: give run.stop.column, one of {listed}")
    key = named or (score.name if score.name in columns else next(iter(columns)))
    if key not in columns:
        raise ScoreError(f'run.stop.column = "{key}" is none of its columns, {listed}{did_you_mean(key, columns)}')
    if columns[key].higher_is_better is None:
        raise ScoreError(f'neither higher nor lower is better of its column "{key}", so no step is the best by it')
    return columns[key]


def refuse_unmeasurable(plan: Plan, run: RowTraining) -> None:
    """Check that the score of `[run.stop]` can be measured on validation images, by doing so on a few.

    Args:
        plan: the row, with its number of steps.
        run: the row, prepared.

    Raises:
        ScoreError: it cannot, there is no validation split, or other settings do not fit; the message says what to do.
    """
    config = plan.run.stop
    if config is None:
        return
    if config.every > plan.run.steps:
        raise ScoreError(
            f"run.stop.every = {config.every:,} is more than the {plan.run.steps:,} steps of the run, so nothing would "
            f"be measured; choose at most {plan.run.steps:,}"
        )
    score: Score = config.score.make()
    try:
        if score.needs_generated:
            raise ScoreError(
                "it scores generated images; choose a score of held-out images that a model encodes, such as elbo or "
                "nll"
            )
        score.check()
        column = watched_column(score, config.column)
        validation = _Validation(run.images, config.images, run.seed)
        validation("validation")
        score.check_row(run.model, validation)
        _try(score, column, run, validation)
    except ScoreError as error:
        raise ScoreError(f"run.stop.score '{score.name}': {error}") from error


def _try(score: Score, column: Column, run: RowTraining, validation: _Validation) -> None:
    """Measure a score on few images, and on all of them if it refuses so few."""
    held_out = {"test", "validation"}
    validation.read.clear()
    try:
        _measured(score, column, run, validation.few())
    except ScoreError:
        if not held_out <= validation.read:
            _measured(score, column, run, validation)
    if not validation.read & held_out:
        raise ScoreError("it reads no held-out images, so it cannot be measured on validation images")
    if held_out <= validation.read:
        raise ScoreError(
            "it chooses something with validation images and scores other held-out images, of which training has none; "
            "choose another score, or settings with which it reads no validation images"
        )


class _Validation:
    """Reads splits for a score in training: validation images stand for test images, which training must not see."""

    def __init__(self, images: Callable[[str], ImageSet], count: int | float | None, seed: int) -> None:
        """Read splits by `images`; see `StopConfig.images` for `count`."""
        self.read: set[str] = set()
        self._images = images
        self._count = count
        self._seed = seed
        self._most: int | None = None

    def few(self) -> _Validation:
        """The same with few images, which notes what is read in the same set."""
        fewer = _Validation(self._images, self._count, self._seed)
        fewer.read, fewer._most = self.read, FEW
        return fewer

    def __call__(self, split: str) -> ImageSet:
        """The training images, or the chosen validation images.

        Raises:
            ScoreError: there is no validation split, or it has too few images, or another split is read.
        """
        self.read.add(split)
        if split == "train":
            return self._images(split)
        if split not in ("test", "validation"):
            raise ScoreError(f"it reads the split '{split}', which may hold test images; training must not see them")
        try:
            held_out = self._images("validation")
        except DataError as error:
            raise ScoreError(f"early stopping needs images that are held back from training: {error}") from error
        n = len(held_out.labels)
        count = n if self._count is None else self._count
        if isinstance(count, float):
            count = max(1, round(count * n))
        if count > n:
            raise ScoreError(f"run.stop.images = {count:,} is more than the {n:,} images of the validation split")
        generator = torch.Generator().manual_seed(derive(self._seed, "early stopping", "images"))
        chosen = torch.randperm(n, generator=generator)[:count].sort().values
        return held_out.take(chosen[: self._most])


def _measured(score: Score, column: Column, run: RowTraining, validation: _Validation) -> float:
    """The number of the column, with the weights for evaluation, under a seed that is the same each time.

    Raises:
        ScoreError: the score cannot be measured, or does not return this number.
    """
    context = SampleContext(
        sampler=run.sample,
        load=validation,
        device=next(run.model.parameters()).device,
        seed=derive(run.seed, "early stopping"),
        cache=cache_folder(),
        trained=run.trained,
    )
    with seeded(run.seed, "early stopping"):
        values = score.measure(context)
    if column.key not in values:
        reason = f": {column.absent}" if column.absent else ""
        raise ScoreError(f"it returned no '{column.key}'{reason}")
    return float(values[column.key])
