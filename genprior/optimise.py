"""One optimiser for each module, and the learning rate of each step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

__all__ = ["OptimiserConfig", "ScheduleConfig", "learning_rate", "make_optimiser"]


class ScheduleConfig(BaseModel):
    """How the learning rate falls over the steps of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    name: Literal["constant", "linear", "cosine", "step"] = "constant"
    """`linear` and `cosine` fall from `lr` to `lr * final`; `step` multiplies by `factor` every `every` steps."""
    warmup: int = Field(0, ge=0)
    """Steps in which the rate first rises linearly from 0."""
    final: float = Field(0.0, ge=0, le=1)
    """What `linear` and `cosine` end at, as a share of `lr`."""
    factor: float = Field(0.1, gt=0, le=1)
    """What `step` multiplies by."""
    every: int = Field(10_000, gt=0)
    """Steps between two multiplications of `step`."""


class OptimiserConfig(BaseModel):
    """The optimiser of one module."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    name: Literal["adam", "sgd", "rmsprop"] = "adam"
    """The method, as torch.optim implements it."""
    lr: float = Field(2e-4, gt=0)
    """Learning rate."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Adam's decay of the first and second moments."""
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
                held, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True
            )
        case "sgd":
            return torch.optim.SGD(
                held, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=True
            )
        case "rmsprop":
            return torch.optim.RMSprop(
                held, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay, foreach=True
            )


def learning_rate(config: OptimiserConfig, step: int, steps: int) -> float:
    """The learning rate of a step, a pure function of its number.

    Args:
        config: the optimiser's settings.
        step: 0 for the first step.
        steps: how many steps the whole run has.

    Returns:
        lr * min(1, (step + 1) / warmup) * decay(t), with t = step / steps: 1 - t (1 - final) for `linear`,
        final + (1 - final) (1 + cos(pi t)) / 2 for `cosine`, factor^floor(step / every) for `step`.
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
    warm = min(1.0, (step + 1) / schedule.warmup) if schedule.warmup else 1.0
    return config.lr * warm * decay
