"""Images shifted, turned and scaled by small random amounts, on the scale of training."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

__all__ = ["moved"]


def moved(x: Tensor, shift: float, rotate: float, zoom: float) -> Tensor:
    """Each image moved by amounts of its own, drawn uniformly; what comes in from outside is black.

    A pixel at p, measured from the centre, is read at R(a) p / s + t, bilinearly, with

        a ~ U(-rotate, rotate),   s ~ U(1 - zoom, 1 + zoom),   t ~ U(-shift, shift)^2

    Args:
        x: images [n, c, h, w] in [-1, 1], where -1 is black.
        shift: the largest shift, across and down, in pixels.
        rotate: the largest angle, in degrees.
        zoom: the largest change of the scale, below 1.
    """
    n, _, h, w = x.shape
    u = torch.rand(4, n, device=x.device, dtype=x.dtype) * 2 - 1
    angle, scale = u[0] * math.radians(rotate), 1 / (1 + u[1] * zoom)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    # Both sides have length 2 for `affine_grid`, which would shear an image that is not square.
    across, down = u[2] * (2 * shift / w), u[3] * (2 * shift / h)
    theta = torch.stack([torch.stack([cos, -sin * h / w, across], 1), torch.stack([sin * w / h, cos, down], 1)], 1)
    with torch.autocast(x.device.type, enabled=False):  # bf16 would place pixels by steps of 1/256 of the image
        grid = affine_grid(theta, [*x.shape], align_corners=False)
        return grid_sample(x + 1, grid, align_corners=False) - 1
