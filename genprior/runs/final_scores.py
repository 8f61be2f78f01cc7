"""Measures the scores of a recipe on the row that was trained."""

from __future__ import annotations

import warnings
from collections.abc import MutableMapping

from genprior.errors import GenpriorWarning
from genprior.parts import Score
from genprior.runs.row_training import RowTraining
from genprior.scoring.context import SampleContext
from genprior.scoring.measure import measure_all, undeclared
from genprior.storage.cache import cache_folder

__all__ = ["final_scores"]


def final_scores(run: RowTraining, networks: MutableMapping[str, str]) -> dict[str, float]:
    """Measure all scores of the plan of a run on samples drawn under its seed; empty without scores.

    Args:
        run: the run that was trained.
        networks: gets the networks of the scores, see `measure_all`.
    """
    if not run.plan.scores:
        return {}
    context = SampleContext(
        sampler=run.sample,
        load=run.images,
        device=run.device,
        seed=run.seed,
        cache=cache_folder(),
        trained=run.trained,
    )
    scores: list[Score] = [config.make() for config in run.plan.scores]
    results = measure_all(scores, context, run.plan.label, networks)
    for text in filter(None, (undeclared(score, results) for score in scores)):
        warnings.warn(GenpriorWarning(f"{run.plan.label}: {text}"), stacklevel=1)
    return results
