"""The learning rate that changes at given steps."""

from __future__ import annotations

from bisect import bisect_right
from typing import Annotated

from pydantic import Field, model_validator

from genprior import Schedule, ScheduleConfig

__all__ = ["Piecewise"]


class Piecewise(Schedule):
    """The rate is `lr` times the next of `factors` from each step of `at` on."""

    name = "piecewise"

    class Config(ScheduleConfig):
        """Settings of the schedule."""

        at: tuple[int, ...] = ()
        """Increasing step numbers at which the rate changes to its next factor."""
        factors: tuple[Annotated[float, Field(ge=0)], ...] = ()
        """The factors, from each step of `at` on; before the first of them the factor is 1."""

        @model_validator(mode="after")
        def _a_factor_for_each_step(self) -> Piecewise.Config:
            at, factors = self.at, self.factors
            if len(at) != len(factors) or list(at) != sorted(set(at)) or min(at, default=1) < 1:
                raise ValueError(
                    f"`at` needs increasing steps from 1 on, and `factors` one number for each of them; got at = "
                    f"{list(at)} and factors = {list(factors)}"
                )
            return self

    def factor(self, step: int, steps: int) -> float:
        """The factor of the last step of `at` that is not after this one; 1 before the first."""
        factors: tuple[float, ...] = (1.0, *self.config.factors)
        return factors[bisect_right(self.config.at, step)]
