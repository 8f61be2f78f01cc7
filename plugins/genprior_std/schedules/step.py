"""The learning rate that is multiplied by a factor at regular steps."""

from __future__ import annotations

from pydantic import Field

from genprior import Schedule, ScheduleConfig

__all__ = ["Step"]


class Step(Schedule):
    """The rate is multiplied by `factor` every `every` steps."""

    name = "step"

    class Config(ScheduleConfig):
        """Settings of the schedule."""

        factor: float = Field(0.1, gt=0, le=1)
        """The factor of each multiplication."""
        every: int = Field(10_000, gt=0)
        """Steps between two multiplications."""

    def factor(self, step: int, steps: int) -> float:
        """factor^floor(step / every)."""
        factor: float = self.config.factor
        power: float = factor ** (step // self.config.every)
        return power
