"""The learning rate that falls linearly."""

from __future__ import annotations

from pydantic import Field

from genprior import Schedule, ScheduleConfig

__all__ = ["Linear"]


class Linear(Schedule):
    """The rate falls linearly from `lr` to `lr * final`."""

    name = "linear"

    class Config(ScheduleConfig):
        """Settings of the schedule."""

        final: float = Field(0.0, ge=0, le=1)
        """The final learning rate, as a share of `lr`."""

    def factor(self, step: int, steps: int) -> float:
        """1 - t (1 - final), with t = step / steps."""
        final: float = self.config.final
        return 1 - step / max(steps, 1) * (1 - final)
