"""One optimiser for each module, and the learning rate of each step."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

__all__ = ["AdamNormGrad", "OptimiserConfig", "ScheduleConfig", "learning_rate", "make_optimiser"]


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


def make_optimiser(config: OptimiserConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser of one module's parameters.

    Adam and SGD run fused: one kernel for all tensors of a module.
    """
    held = list(parameters)
    match config.name:
        case "adam":
            return torch.optim.Adam(
                held, lr=config.lr, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay, fused=True
            )
        case "adam_norm_grad":
            return AdamNormGrad(
                held, lr=config.lr, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay, fused=True
            )
        case "sgd":
            return torch.optim.SGD(
                held, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=True
            )
        case "rmsprop":
            return torch.optim.RMSprop(
                held,
                lr=config.lr,
                momentum=config.momentum,
                eps=config.eps,
                weight_decay=config.weight_decay,
                foreach=True,
            )


class AdamNormGrad(torch.optim.Adam):
    """Adam on gradients that are divided by their own norm, each parameter tensor's by its own: g / (|g| + 1e-7).

    The moments see directions alone, so a tensor whose gradient is small moves as far as the others.

    References:
        The optimiser of the code of Tomczak and Welling, VAE with a VampPrior, 2017.
    """

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Normalise the gradients in place, and step."""
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        if gradients:
            norms = torch._foreach_norm(gradients)
            torch._foreach_add_(norms, 1e-7)
            torch._foreach_div_(gradients, norms)
        loss: float | None = super().step(closure)
        return loss


def learning_rate(config: OptimiserConfig, step: int, steps: int) -> float:
    """The learning rate of a step, a pure function of its number.

    Args:
        config: the optimiser's settings.
        step: 0 for the first step.
        steps: how many steps the whole run has.

    Returns:
        lr * min(1, (step + 1) / warmup) * decay(t), with t = step / steps: 1 - t (1 - final) for `linear`,
        final + (1 - final) (1 + cos(pi t)) / 2 for `cosine`, factor^floor(step / every) for `step`, and for
        `piecewise` the factor of the last step of `at` that is not after this one.
    """
    schedule = config.schedule
    t = step / max(steps, 1)
    match schedule.name:
        case "constant":
            decay = 1.0
        case "linear":
            decay = 1 - t * (1 - schedule.final)
        case "cosine":
            decay = schedule.final + (1 - schedule.final) * (1 + math.cos(math.pi * t)) / 2
        case "step":
            decay = schedule.factor ** (step // schedule.every)
        case "piecewise":
            decay = (1.0, *schedule.factors)[bisect_right(schedule.at, step)]
    warm = min(1.0, (step + 1) / schedule.warmup) if schedule.warmup else 1.0
    return config.lr * warm * decay
