"""Settings of optimisers and of their learning rates."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["OptimiserConfig", "ScheduleConfig"]


class ScheduleConfig(BaseModel):
    """How the learning rate falls over the steps of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    name: Literal["constant", "linear", "cosine", "step", "piecewise"] = "constant"
    """`linear` and `cosine` fall from `lr` to `lr * final`; `step` multiplies by `factor` every `every` steps;
    `piecewise` is `lr` times the next of `factors` from each step of `at` on."""
    warmup: int = Field(0, ge=0)
    """Steps in which the rate first rises linearly from 0."""
    final: float = Field(0.0, ge=0, le=1)
    """What `linear` and `cosine` end at, as a share of `lr`."""
    factor: float = Field(0.1, gt=0, le=1)
    """What `step` multiplies by."""
    every: int = Field(10_000, gt=0)
    """Steps between two multiplications of `step`."""
    at: tuple[int, ...] = ()
    """Rising steps at which `piecewise` goes on to its next factor."""
    factors: tuple[float, ...] = ()
    """What `piecewise` multiplies `lr` by, from each step of `at` on; before the first of them it is 1."""

    @model_validator(mode="after")
    def _a_factor_for_each_step(self) -> ScheduleConfig:
        if len(self.at) != len(self.factors) or list(self.at) != sorted(set(self.at)) or min(self.at, default=1) < 1:
            raise ValueError(
                f"`at` holds rising steps from 1 on and `factors` a number for each of them; got at = {list(self.at)} "
                f"and factors = {list(self.factors)}"
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
    """What Adam and rmsprop add to the root of the second moment."""
    momentum: float = Field(0.0, ge=0, lt=1)
    """Momentum of sgd and rmsprop."""
    weight_decay: float = Field(0.0, ge=0)
    """L2 penalty, as torch.optim adds it to the gradient."""
    schedule: ScheduleConfig = ScheduleConfig()
    """How the learning rate falls."""
