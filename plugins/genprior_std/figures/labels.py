"""The labels or categories that the models of runs can be asked for."""

from __future__ import annotations

from collections.abc import Sequence

from genprior import PlanError, TrainedRun

__all__ = ["shared_labels"]


def shared_labels(runs: Sequence[TrainedRun]) -> tuple[str, list[str]]:
    """What all runs can be asked for, "label" or "category", and the names of these.

    Names are the classes of the data, or else the kind with an index, such as "category 0": a category that was found
    without labels is no class.

    Raises:
        PlanError: the model of a run takes neither, or takes others than that of the first run.
    """
    first = runs[0].model.asks
    for run in runs:
        asks = run.model.asks
        if asks.kind not in ("label", "category"):
            raise PlanError(
                f"the model of row '{run.label}' can be asked for {asks.kind}, and this figure shows images of labels "
                "or categories; give runs with such a conditioner, or select rows with --rows"
            )
        if asks != first:
            raise PlanError(
                f"the model of row '{run.label}' can be asked for {asks.number} of the kind '{asks.kind}', and that of "
                f"row '{runs[0].label}' for {first.number} of the kind '{first.kind}'; a figure shows runs that have "
                "the same: select rows with --rows"
            )
    classes = runs[0].classes
    named = first.kind == "label" and len(classes) == first.number
    return first.kind, classes if named else [f"{first.kind} {k}" for k in range(first.number)]
