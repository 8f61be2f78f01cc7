"""The width of the density of a pixel, fixed or learned."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Spread", "SpreadForm"]

SpreadForm = Literal["fixed", "shared", "channel", "pixel"]


class Spread(nn.Module):
    """The logarithm of a standard deviation or scale of pixels: fixed, or learned with a floor.

        log spread = log floor + softplus(raw),    d log spread / d raw = sigmoid(raw) > 0

    "fixed" has no parameter; "shared" learns one number, "channel" one for each of c, "pixel" one for each of c h w.
    All are initialised to `start`. The floor is needed because a density grows without bound as it narrows around a
    pixel that every reconstruction gets exactly right, such as a black corner. Every value above the floor can be
    reached, and the gradient vanishes at none of them.
    """

    def __init__(self, form: SpreadForm, start: float, floor: float, image: tuple[int, int, int]) -> None:
        """Initialise the spread to `start`.

        Args:
            form: whether the spread is learned, and how many there are.
            start: the initial spread, or the fixed one; above `floor` if it is learned.
            floor: lower bound of a learned spread.
            image: (c, h, w).
        """
        super().__init__()
        self._log_start = math.log(start)
        self._log_floor = math.log(floor)
        self.raw: nn.Parameter | None = None
        if form != "fixed":
            shape = {"shared": (1, 1, 1), "channel": (image[0], 1, 1), "pixel": image}[form]
            above = self._log_start - self._log_floor
            # The inverse of softplus, log(exp(above) - 1), in a form that large numbers do not overflow.
            self.raw = nn.Parameter(torch.full(shape, above + math.log(-math.expm1(-above))))

    def log(self, like: Tensor) -> Tensor:
        """The natural logarithm of the spread, [1, 1, 1], [c, 1, 1] or [c, h, w], in the dtype of `like`."""
        if self.raw is None:
            return like.new_full((1, 1, 1), self._log_start)
        # Above its threshold torch's softplus is linear; 40 keeps that below the rounding of double precision.
        return self._log_floor + functional.softplus(self.raw.to(like.dtype), threshold=40)
