"""Settings of optimisers and learning rate schedules."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["OptimiserConfig", "ScheduleConfig"]


class ScheduleConfig(BaseModel):
    """The schedule of the learning rate over the steps of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    name: Literal["constant", "linear", "cosine", "step", "piecewise"] = "constant"
    """`linear` and `cosine` fall from `lr` to `lr * final`; `step` multiplies by `factor` every `every` steps;
    `piecewise` is `lr` times the next of `factors` from each step of `at` on."""
    warmup: int = Field(0, ge=0)
    """Steps in which the rate first rises linearly from 0."""
    final: float = Field(0.0, ge=0, le=1)
    """The final learning rate of `linear` and `cosine`, as a share of `lr`."""
    factor: float = Field(0.1, gt=0, le=1)
    """The factor of `step`."""
    every: int = Field(10_000, gt=0)
    """Steps between two multiplications of `step`."""
    at: tuple[int, ...] = ()
    """Increasing step numbers at which `piecewise` changes to its next factor."""
    factors: tuple[float, ...] = ()
    """The factors of `piecewise`, from each step of `at` on; before the first of them the factor is 1."""

    @model_validator(mode="after")
    def _a_factor_for_each_step(self) -> ScheduleConfig:
        if len(self.at) != len(self.factors) or list(self.at) != sorted(set(self.at)) or min(self.at, default=1) < 1:
            raise ValueError(
                f"`at` needs increasing steps from 1 on, and `factors` one number for each of them; got at = "
                f"{list(self.at)} and factors = {list(self.factors)}"
            )
        return self


class OptimiserConfig(BaseModel):
    """The optimiser of one module."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    name: Literal["adam", "adam_norm_grad", "sgd", "rmsprop"] = "adam"
    """The method, as torch.optim implements it; `adam_norm_grad` is Adam on gradients of norm 1."""
    lr: float = Field(2e-4, gt=0)
    """Learning rate."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Adam's decay of the first and second moments."""
    eps: float = Field(1e-8, gt=0)
    """The number that Adam and rmsprop add to the root of the second moment."""
    momentum: float = Field(0.0, ge=0, lt=1)
    """Momentum of sgd and rmsprop."""
    weight_decay: float = Field(0.0, ge=0)
    """L2 penalty, as torch.optim adds it to the gradient."""
    schedule: ScheduleConfig = ScheduleConfig()
    """The schedule of the learning rate."""
