"""One optimiser for each module, and the learning rate of each step."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable

import torch
from torch import nn

from genprior.recipe.optimiser import OptimiserConfig

__all__ = ["AdamNormGrad", "learning_rate", "make_optimiser"]


def make_optimiser(config: OptimiserConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser of one module's parameters.

    Adam and SGD run fused: one kernel for all tensors of a module.
    """
    trained = list(parameters)
    match config.name:
        case "adam":
            return torch.optim.Adam(
                trained, lr=config.lr, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay, fused=True
            )
        case "adam_norm_grad":
            return AdamNormGrad(
                trained, lr=config.lr, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay, fused=True
            )
        case "sgd":
            return torch.optim.SGD(
                trained, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=True
            )
        case "rmsprop":
            return torch.optim.RMSprop(
                trained,
                lr=config.lr,
                momentum=config.momentum,
                eps=config.eps,
                weight_decay=config.weight_decay,
                foreach=True,
            )


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
