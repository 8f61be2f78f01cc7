"""How many labels or categories can be asked of the models of runs."""

from __future__ import annotations

from collections.abc import Sequence

from genprior import PlanError, TrainedRun, as_batch, evaluating, seeded

__all__ = ["shared_labels"]


def shared_labels(runs: Sequence[TrainedRun]) -> int:
    """The number of labels or categories of all runs: those that the model infers, or else the classes of the data.

    Raises:
        PlanError: a run has neither, or the numbers differ.
    """
    numbers = [_labels_of(run) for run in runs]
    for run, number in zip(runs, numbers, strict=True):
        if number != numbers[0]:
            raise PlanError(
                f"row '{run.label}' has {number} labels or categories, and row '{runs[0].label}' has {numbers[0]}; "
                "a figure shows runs with equally many: select rows with --rows"
            )
    return numbers[0]


def _labels_of(run: TrainedRun) -> int:
    model = run.model
    one = as_batch(model, run.images("test").take(slice(1)), next(model.parameters()).device)
    with evaluating(model), seeded(0, "labels"):
        categories = model.clusters(one)
    number = len(run.classes) if categories is None else categories.shape[1]
    if not number:
        raise PlanError(f"row '{run.label}' has neither labels nor categories to ask for; train with labelled images")
    return number
