"""Pixels as outputs of a decoder: their range and their initial bias."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from genprior import Batch, PlanError

__all__ = ["PixelTanh", "logit_of_mean"]

CLIP = 1e-3
"""Initial probabilities of white are clipped to this distance from 0 and 1, as in the code of IWAE."""


class PixelTanh(nn.Module):
    """Pixels x = tanh(s u) in [-1, 1], in at least single precision.

    With s = 1/2 the probability of a white pixel, p = (x + 1) / 2, is the sigmoid of u. bfloat16 has no number between
    0.996 and 1, so its tanh of anything beyond 3.5 would be 1, and p exactly 0 or 1.
    """

    def __init__(self, scale: float = 1.0) -> None:
        """Keep the scale.

        Args:
            scale: s.
        """
        super().__init__()
        self.scale = scale

    def forward(self, u: Tensor) -> Tensor:
        """Pixels of the shape of u; single precision where u is of half precision, else the dtype of u."""
        u = u.to(torch.promote_types(u.dtype, torch.float32))
        return (u if self.scale == 1 else self.scale * u).tanh()

    def extra_repr(self) -> str:
        """The scale, for `print`."""
        return f"scale={self.scale}"


def logit_of_mean(draw: Callable[[int], Batch]) -> Tensor:
    """The logit log(p / (1 - p)) of the mean training image, p being its pixels as probabilities of white.

    The mean is that of 1000 images, or of the largest power of two that a smaller data set has; p is clipped to
    [0.001, 0.999].

    Args:
        draw: gives n different training images; raises `PlanError` where there are fewer.

    Returns:
        [c h w], in the order of an image that is flattened.

    Raises:
        PlanError: there is no training image.

    References:
        Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders, 2015 (the bias of the output in its code).
    """
    for n in (1000, *(2**k for k in range(9, 0, -1))):
        try:
            x = draw(n).x
        except PlanError:
            continue
        break
    else:
        x = draw(1).x
    p = 0.5 * (x.to(torch.promote_types(x.dtype, torch.float32)).mean(0).flatten() + 1)
    return p.logit(eps=CLIP)
