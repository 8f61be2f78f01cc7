"""Checks of models whose code is a class."""

from __future__ import annotations

from typing import Any

from genprior import CategoricalPosterior, DataInfo, PlanError
from genprior_std.priors.categorical import Categorical

__all__ = ["check_code_is_class"]


def check_code_is_class(model: str, config: Any, info: DataInfo) -> None:
    """Refuse settings with which the code would not be the class, or that add a condition.

    Args:
        model: its name, for the message.
        config: its settings, with `code_size`, `prior`, `encoder` and `conditioner`.
        info: the description of the data.

    Raises:
        PlanError: the data has no classes, or a setting does not fit them.
    """
    classes = len(info.classes)
    if not classes:
        raise PlanError(
            f"model '{model}' learns classes, and this data set has none. Use a data set with labels, or model "
            "'pixelgan'"
        )
    if config.code_size not in (None, classes):
        raise PlanError(
            f"model '{model}' has one category for each class of the data; code_size = {config.code_size}, and there "
            f"are {classes} classes. Leave code_size out, or use model 'pixelgan' for other numbers of clusters"
        )
    if not issubclass(config.prior.part, Categorical):
        raise PlanError(
            f"model '{model}' has the class as its code; prior '{config.prior.name}' draws other codes. "
            "Leave prior out, or use model 'pixelgan'"
        )
    if not issubclass(config.encoder.part.posterior_of(config.encoder), CategoricalPosterior):
        raise PlanError(
            f"model '{model}' reads the class of an image from a soft category, and encoder '{config.encoder.name}' "
            'gives other codes. Set posterior = "softmax" in the encoder\'s table'
        )
    if any(config.conditioner.part.widths(config.conditioner, info)):
        raise PlanError(
            f"model '{model}' has the class as its code, and conditioner '{config.conditioner.name}' adds a "
            "condition. Leave conditioner out, or use model 'pixelgan'"
        )
