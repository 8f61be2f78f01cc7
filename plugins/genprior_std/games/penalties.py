"""Penalties on a critic's gradient with respect to its input."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor

from genprior import PartConfig

__all__ = ["LogitGameConfig", "slopes", "zero_centred"]


class LogitGameConfig(PartConfig):
    """Settings of the games whose losses are sums over logits."""

    fake_weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """w, the weight of each kind of fake in the critic's loss; 0.5 balances two kinds against one real."""
    r1: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """gamma, the weight of the penalty gamma / 2 E |grad_x l(real)|^2 in the critic's loss; 0 is none."""


def slopes(critic: Callable[[Tensor, Tensor], Tensor], x: Tensor, known: Tensor) -> Tensor:
    """The gradient of each logit with respect to its own sample, differentiable in the critic's parameters.

        grad_x l(x),    [n, number of coordinates of x]

    Computed at least in single precision, even under autocast: squares of gradients do not fit into half precision.
    A critic whose logit of one sample depends on the others (batch normalisation) gives the gradient of the sum.

    Args:
        critic: gives logits [n].
        x: samples [n, d] or [n, c, h, w]; they are detached from the graph that made them.
        known: [n, k].
    """
    with torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
        wide = torch.promote_types(x.dtype, torch.float32)
        at = x.detach().to(wide).requires_grad_()
        (gradient,) = torch.autograd.grad(critic(at, known).sum(), at, create_graph=True)
    return gradient.flatten(1)


def zero_centred(
    critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], weight: float
) -> Tensor | float:
    """The zero-centred penalty on real samples, R1.

        weight / 2 E |grad_x l(real)|^2

    Args:
        critic: gives logits [n].
        real: real samples and what is known of them.
        weight: gamma; with 0 the critic is not called.

    Source: Mescheder, Geiger, Nowozin, "Which training methods for GANs do actually converge?", section 4.1.
    """
    return 0.5 * weight * slopes(critic, *real).square().sum(1).mean() if weight else 0.0
