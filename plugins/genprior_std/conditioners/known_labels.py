"""Checks of conditioners that use labels: all labels are visible, and labels that are asked for exist."""

from __future__ import annotations

from torch import Tensor

from genprior import DataInfo, PlanError

__all__ = ["check_asked", "check_labels_known"]


def check_labels_known(what: str, info: DataInfo) -> None:
    """Refuse a part that needs every label where `run.labels` hides some.

    Args:
        what: the part, as in "conditioner 'x'", for the message.
        info: the description of the data.

    Raises:
        PlanError: some labels are hidden.
    """
    if info.labelled is not None:
        raise PlanError(
            f"{what} needs the label of every image, and run.labels = {info.labelled} hides all others. "
            "Leave run.labels out, or use conditioner 'partial_label' or model 'aae_semi_supervised'"
        )


def check_asked(what: str, y: Tensor, classes: int) -> None:
    """Refuse to ask for labels y [n] that are not among so many classes.

    Args:
        what: the part, as in "model 'x'", for the message.
        y: the labels asked for.
        classes: how many the data has.

    Raises:
        PlanError: a label is not one of them.
    """
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes:
        raise PlanError(
            f"{what} was asked for labels from {int(y.min())} to {int(y.max())}; the data has "
            f"{classes} classes. Ask for labels from 0 to {classes - 1}"
        )
