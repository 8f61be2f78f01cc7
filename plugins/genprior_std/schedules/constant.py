"""The learning rate that stays."""

from __future__ import annotations

from genprior import Schedule, ScheduleConfig

__all__ = ["Constant"]


class Constant(Schedule):
    """The rate stays at `lr`."""

    name = "constant"
    is_default = True
    constant = True

    class Config(ScheduleConfig):
        """Settings of the schedule."""

    def factor(self, step: int, steps: int) -> float:
        """1."""
        return 1.0
