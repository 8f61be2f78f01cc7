"""Maps of twice the side, by nearest neighbours, in the precision that they have."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Doubled", "doubled"]


def doubled(x: Tensor) -> Tensor:
    """Maps [n, c, 2h, 2w] from maps x [n, c, h, w]: each pixel four times.

    Copies need no more precision than what they copy. Autocast on CUDA, unlike that on a CPU, computes them and their
    sum with other maps in single precision, at twice the memory traffic; here they keep that of x. The gradient, a sum
    of four, is rounded once, as it is after a sum in single precision.
    """
    if x.device.type != "cuda":
        return _doubled(x)
    with torch.autocast("cuda", enabled=False):
        return _doubled(x)


def _doubled(x: Tensor) -> Tensor:
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")


class Doubled(nn.Module):
    """`doubled` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps [n, c, 2h, 2w] from maps x [n, c, h, w]."""
        return doubled(x)
