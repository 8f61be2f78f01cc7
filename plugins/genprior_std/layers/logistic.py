"""The logistic density in the 256 bins of a byte; the outer two bins include the tails."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["FLOOR", "negative_log_probability"]

HALF = 1 / 255
"""Half of a bin's width on the [-1, 1] scale."""
FLOOR = 1e-4
"""Lower bound of a scale: a bin holds all but exp(-39) of a density in its middle, so narrower ones gain nothing."""
FAR = 1e30
"""Far in any scale, and finite in single precision when divided by the floor."""


def negative_log_probability(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """-log P(x), [n, c, h, w]; the log scale broadcasts.

        P(x) = sigmoid(a) - sigmoid(b),    a = (x + 1/255 - m) / s,    b = (x - 1/255 - m) / s

    No difference of sigmoids is taken:

        log P = log sigmoid(a) + log sigmoid(-b) + log(1 - exp(b - a)),    b - a = -(2/255) / s

    has three terms of one sign, whose values and gradients are finite and exact to rounding however far m is off.

    Args:
        x: pixels in [-1, 1], [n, c, h, w].
        mean: m, of the shape of x.
        log_scale: the natural logarithm of s.
    """
    per_scale = (-log_scale).exp()
    # The outer edges of the first and the last bin are moved far off, where their terms and slopes are zero.
    below_last = functional.threshold(-x, HALF - 1, -FAR)
    above_first = functional.threshold(x, HALF - 1, -FAR)
    upper = functional.softplus((below_last + mean - HALF) * per_scale, threshold=40)  # -log sigmoid(a)
    lower = functional.softplus((above_first - mean - HALF) * per_scale, threshold=40)  # -log sigmoid(-b)
    inner = (x.abs() < 1 - HALF).to(x.dtype)
    return upper + lower - inner * _log_one_minus_exp(2 * HALF * per_scale)


def _log_one_minus_exp(h: Tensor) -> Tensor:
    """log(1 - exp(-h)) for h > 0, exact to rounding for small and for large h."""
    # Each branch gets only the range where it is accurate: an infinite slope of the other would become nan in the
    # gradient.
    near, far = h.clamp(max=math.log(2)), h.clamp(min=math.log(2))
    return torch.where(h < math.log(2), (-torch.expm1(-near)).log(), (-(-far).exp()).log1p())
