"""The modified Bessel function I_v of real order in the forms that directional statistics needs, differentiable."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

__all__ = ["bessel_ratio", "log_bessel_over_power"]

ORDER = 24.0
"""The least order at which the uniform expansion is used; those below it come from it by the recurrence."""
# u_1 .. u_4 of the expansion, as coefficients of p^k, p^(k + 2), ... over a denominator.
EXPANSION = (
    ((3, -5), 24),
    ((81, -462, 385), 1152),
    ((30375, -369603, 765765, -425425), 414720),
    ((4465125, -94121676, 349922430, -446185740, 185910725), 39813120),
)


def log_bessel_over_power(x: Tensor, order: float) -> Tensor:
    """The logarithm of exp(-x) I_v(x) / x^v, [n], for x >= 0 [n], in double precision.

    It is finite and smooth at x = 0, where I_v(x) / x^v = 2^-v / Gamma(v + 1). With S_v = I_(v+1) / (x I_v),

        I_v / x^v = (I_w / x^w) prod_(u = v .. w - 1) 1 / S_u,    1 / S_(u-1) = 2 u + x^2 S_u

    leads from an order w = v + N >= 24, where the uniform asymptotic expansion is exact to 1e-8 for every x, down to v.
    The recurrence is stable in this direction, and every term is positive.

    Args:
        x: arguments.
        order: v >= 0.

    References:
        Olver et al., NIST Digital Library of Mathematical Functions, equations 10.41.3 (the expansion for large orders)
        and 10.29.1 (the recurrence).
    """
    log_scaled: Tensor = _LogBessel.apply(x.double(), order)
    return log_scaled


def bessel_ratio(x: Tensor, order: float) -> Tensor:
    """The ratio I_(v+1)(x) / I_v(x) in [0, 1), [n], for x >= 0 [n], in double precision."""
    ratio: Tensor = _BesselRatio.apply(x.double(), order)
    return ratio


class _LogBessel(torch.autograd.Function):
    """log exp(-x) I_v(x) / x^v; its derivative is I_(v+1) / I_v - 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: float) -> Tensor:
        log_value, over_x = _evaluate(x, order)
        ctx.save_for_backward(x, over_x)
        ctx.order = order
        return log_value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        x, over_x = ctx.saved_tensors
        # Gradients are enabled here where a second derivative may be asked for.
        ratio = bessel_ratio(x, ctx.order) if torch.is_grad_enabled() else x * over_x
        return gradients[0] * (ratio - 1), None


class _BesselRatio(torch.autograd.Function):
    """A = I_(v+1) / I_v; its derivative is 1 - A^2 - (2 v + 1) A / x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: float) -> Tensor:
        over_x = _evaluate(x, order)[1]
        ctx.save_for_backward(x, over_x)
        ctx.order = order
        return x * over_x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        x, over_x = ctx.saved_tensors
        return gradients[0] * (1 - (x * over_x).square() - (2 * ctx.order + 1) * over_x), None


def _evaluate(x: Tensor, order: float) -> tuple[Tensor, Tensor]:
    """Log exp(-x) I_v(x) / x^v, and S_v = I_(v+1) / (x I_v)."""
    steps = max(0, math.ceil(ORDER - order))
    top = order + steps
    square = x * x
    log_value = _expansion(x, top)
    ratio = (_expansion(x, top + 1) - log_value).exp()
    for v in range(steps):
        inverse = 2 * (top - v) + square * ratio  # 1 / S of the order below
        log_value = log_value + inverse.log()
        ratio = inverse.reciprocal()
    return log_value, ratio


def _expansion(x: Tensor, v: float) -> Tensor:
    """Log exp(-x) I_v(x) / x^v by the uniform expansion, with r = (v^2 + x^2)^(1/2) and p = v / r."""
    r = torch.hypot(x, torch.full_like(x, v))
    p = v / r
    series = torch.ones_like(x)
    for k, (numbers, denominator) in enumerate(EXPANSION, 1):
        polynomial = torch.zeros_like(x)
        for number in reversed(numbers):
            polynomial = polynomial * p * p + number / denominator
        series = series + polynomial * (p / v) ** k
    exponent = v * v / (r + x) - v * (v + r).log()  # r - x, without its cancellation
    return exponent - 0.5 * (2 * math.pi * r).log() + series.log()
