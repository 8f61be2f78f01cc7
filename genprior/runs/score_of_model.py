"""Measures one score of a trained model, as at the end of training."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from pydantic import ValidationError

from genprior.engine.sampling import evaluating, generate
from genprior.errors import ScoreError, wrong_settings
from genprior.parts import ImageSet, Model, PartConfig, Score
from genprior.recipe.mistakes import explained_settings
from genprior.registry import installed
from genprior.scoring.context import SampleContext
from genprior.scoring.measure import measure_all, needed_split
from genprior.storage.cache import cache_folder

__all__ = ["score_of_model", "score_settings"]


def score_settings(name: str, samples: int | None, settings: Mapping[str, Any]) -> PartConfig:
    """The settings of a score.

    Raises:
        ScoreError: there is no such score or setting, or it has no number of samples.
    """
    table = {**settings, "name": name}
    try:
        config = installed().configure("score", table)
    except ValidationError as error:
        raise ScoreError(f"score '{name}': {explained_settings(error, 'score', table, installed())}") from None
    except ValueError as error:
        raise ScoreError(str(error)) from None
    try:
        score: Score = config.make()
        if samples is not None and score.samples is None:
            raise ScoreError(f"score '{name}' has no number of samples; leave samples out")
        return config if samples is None else score.with_samples(samples)
    except ValidationError as error:
        raise ScoreError(f"score '{name}': {wrong_settings(error)}") from None
    except ValueError as error:
        raise ScoreError(str(error)) from None


def score_of_model(
    config: PartConfig,
    model: Model,
    load: Callable[[str], ImageSet],
    *,
    device: torch.device,
    seed: int,
    row: str,
) -> dict[str, float]:
    """The numbers of a score by name.

    Args:
        config: the score's settings.
        model: the model, on the device.
        load: reads a split of the run's data.
        device: of the model, and of feature networks.
        seed: the run's seed, which draws the samples.
        row: the label of the row, for messages.

    Raises:
        ScoreError: it cannot be measured on this model or data.
        DataError: the data is missing.
    """
    score: Score = config.make()
    score.check()
    if score.needs_generated and not model.makes_images:
        raise ScoreError(f"score '{score.name}' needs generated images, but model '{model.name}' makes none")
    try:
        for split in score.needs:
            needed_split(score, split, load)
        score.check_row(model, load)
    except ScoreError as error:
        raise ScoreError(f"score '{score.name}': {error}") from error

    @contextlib.contextmanager
    def trained() -> Iterator[Model]:
        with evaluating(model):
            yield model

    context = SampleContext(
        lambda n: generate(model, n, seed=seed), load, device=device, seed=seed, cache=cache_folder(), trained=trained
    )
    return measure_all([score], context, row)
