"""One optimiser for each module, and the learning rate of each step."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable

import torch
from torch import nn

from genprior.recipe.optimiser import (
    AdamConfig,
    AdamNormGradConfig,
    CosineSchedule,
    LinearSchedule,
    OptimiserConfig,
    PiecewiseSchedule,
    RmspropConfig,
    SgdConfig,
    StepSchedule,
)

__all__ = ["AdamNormGrad", "learning_rate", "make_optimiser"]


def make_optimiser(config: OptimiserConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser of one module's parameters.

    Adam and SGD run fused: one kernel for all tensors of a module.

    Raises:
        TypeError: `config` is of none of the methods.
    """
    trained, lr, decay = list(parameters), config.lr, config.weight_decay
    match config:
        case AdamConfig(betas=betas, eps=eps):
            return torch.optim.Adam(trained, lr=lr, betas=betas, eps=eps, weight_decay=decay, fused=True)
        case AdamNormGradConfig(betas=betas, eps=eps):
            return AdamNormGrad(trained, lr=lr, betas=betas, eps=eps, weight_decay=decay, fused=True)
        case SgdConfig(momentum=momentum):
            return torch.optim.SGD(trained, lr=lr, momentum=momentum, weight_decay=decay, fused=True)
        case RmspropConfig(momentum=momentum, eps=eps):
            return torch.optim.RMSprop(trained, lr=lr, momentum=momentum, eps=eps, weight_decay=decay, foreach=True)
    raise TypeError(f"{type(config).__name__} is not a method; use one of {', '.join(OptimiserConfig.methods)}")


class AdamNormGrad(torch.optim.Adam):
    """Adam on normalised gradients, each parameter tensor's divided by its norm: g / (|g| + 1e-7).

    The moments depend only on directions, so a tensor with a small gradient moves as far as the others.

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
        steps: the number of steps of the whole run.

    Returns:
        lr * min(1, (step + 1) / warmup) * decay(t), with t = step / steps: 1 - t (1 - final) for `linear`,
        final + (1 - final) (1 + cos(pi t)) / 2 for `cosine`, factor^floor(step / every) for `step`, and for
        `piecewise` the factor of the last step of `at` that is not after this one.
    """
    schedule = config.schedule
    t = step / max(steps, 1)
    match schedule:
        case LinearSchedule(final=final):
            decay = 1 - t * (1 - final)
        case CosineSchedule(final=final):
            decay = final + (1 - final) * (1 + math.cos(math.pi * t)) / 2
        case StepSchedule(factor=factor, every=every):
            decay = factor ** (step // every)
        case PiecewiseSchedule(at=at, factors=factors):
            decay = (1.0, *factors)[bisect_right(at, step)]
        case _:
            decay = 1.0
    warm = min(1.0, (step + 1) / schedule.warmup) if schedule.warmup else 1.0
    return config.lr * warm * decay
