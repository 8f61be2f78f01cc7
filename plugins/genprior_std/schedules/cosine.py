"""The learning rate that falls along half a cosine."""

from __future__ import annotations

import math

from pydantic import Field

from genprior import Schedule, ScheduleConfig

__all__ = ["Cosine"]


class Cosine(Schedule):
    """The rate falls from `lr` to `lr * final` along half a cosine.

    References:
        Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, eq. 5, without restarts.
    """

    name = "cosine"

    class Config(ScheduleConfig):
        """Settings of the schedule."""

        final: float = Field(0.0, ge=0, le=1)
        """The final learning rate, as a share of `lr`."""

    def factor(self, step: int, steps: int) -> float:
        """Final + (1 - final) (1 + cos(pi t)) / 2, with t = step / steps."""
        final: float = self.config.final
        return final + (1 - final) * (1 + math.cos(math.pi * (step / max(steps, 1)))) / 2
