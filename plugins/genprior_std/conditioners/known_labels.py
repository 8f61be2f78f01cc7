"""Conditions that need every label, where training may see few."""

from __future__ import annotations

from genprior.errors import PlanError
from genprior.parts import DataInfo

__all__ = ["check_labels_known"]


def check_labels_known(what: str, info: DataInfo) -> None:
    """Refuse to tell labels that training may not see.

    Args:
        what: who needs every label, for the message.
        info: what is known of the data.

    Raises:
        PlanError: some labels are hidden.
    """
    if info.labelled is not None:
        raise PlanError(
            f"{what} is told the label of every image, and run.labels = {info.labelled} hides all others. "
            "Leave run.labels out, or use conditioner 'partial_label' or model 'aae_semi_supervised'"
        )
