"""Settings that the standard optimisers share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from genprior import OptimiserConfig, ScheduleSpec
from genprior_std.schedules.constant import Constant

__all__ = ["Decay", "ScheduledConfig"]

Decay = Annotated[float, Field(ge=0, lt=1)]
"""The decay of a moving average."""


class ScheduledConfig(OptimiserConfig):
    """The settings of an optimiser whose schedule is part of its resolved recipe."""

    schedule: ScheduleSpec = Constant.Config()
    """The schedule of the learning rate."""
