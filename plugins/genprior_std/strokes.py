"""Measures of drawn strokes: slant, thickness and proportion.

Ink is 1 on a stroke, 0 on the background. Moving a drawing inside its image changes no measure.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["height_to_width", "ink_of", "slant", "thickness"]

_LEVEL, _RAMP = 0.5, 0.25
"""Where the contour of a stroke lies, and how far below and above it grey still counts as the edge."""
_PIXEL_VARIANCE = 1 / 12
"""The variance of a uniform distribution over one pixel, so that a rectangle of a x b pixels has the ratio a / b."""


def ink_of(images: Tensor) -> Tensor:
    """How far each pixel is from the background, float64 [n, h, w] from 0 to 1, for images uint8 [n, c, h, w].

    The background is the median of the border's pixels in each channel, and the largest difference of a channel counts:
    so strokes that are as bright as their background, but of another colour, are ink. Of one channel it is
    |x - background| / 255.
    """
    x = images.double() / 255
    border = torch.cat([x[:, :, 0], x[:, :, -1], x[:, :, 1:-1, 0], x[:, :, 1:-1, -1]], dim=2)
    background = border.median(dim=2).values
    return (x - background[:, :, None, None]).abs().amax(1)


def slant(ink: Tensor) -> Tensor:
    """The slant of a drawing by its second moments, in degrees; positive to the right.

    atan(-mu_xy / mu_yy) with mu_xy = sum g (x - x') (y - y') and mu_yy = sum g (y - y')^2, where y grows downwards and
    (x', y') is the centre of mass. A drawing that is symmetric about a vertical line and is then sheared by
    x -> x - t y has the slant atan(t). The slant depends on the figure as well as on the hand: a 6 has its ink at the
    upper left and the lower right, and so a smaller slant than a 7. An image without ink has slant 0.

    Args:
        ink: float [n, h, w] in [0, 1].

    Returns:
        [n], in degrees from -90 to 90.

    References:
        Hu, "Visual pattern recognition by moment invariants", 1962; the correction of slant by moments: LeCun et al.,
        "Gradient-based learning applied to document recognition", 1998 (its deslanted digits).
    """
    _, mixed, vertical = _second_moments(ink)
    return torch.rad2deg(torch.atan2(-mixed, vertical))


def thickness(ink: Tensor) -> Tensor:
    """The mean width of the strokes of a drawing, in pixels: the mass of ink per length of stroke.

    2 A / P with the mass A = sum g and the length P of the contour. A stroke has a contour on both sides, so P / 2 is
    its length. P is the total variation of clamp((g - .25) / .5, 0, 1), which by the co-area formula is the mean length
    of the contours at the levels from .25 to .75: neither a threshold nor a skeleton is needed, both of which are
    unstable on scans of a few pixels. A ring of width w has thickness w. A bar of width w and length l has thickness
    w l / (w + l), because its ends are part of the contour. An image without a contour has thickness 0.

    Args:
        ink: float [n, h, w] in [0, 1].

    Returns:
        [n], in pixels.

    References:
        Fleming, Rishel, "An integral formula for total gradient variation", 1960.
    """
    edges = pad((ink - (_LEVEL - _RAMP)).div(2 * _RAMP).clamp(0, 1), (1, 1, 1, 1))
    corners = edges[:, :-1, :-1], edges[:, :-1, 1:], edges[:, 1:, :-1], edges[:, 1:, 1:]
    right = (corners[1] + corners[3] - corners[0] - corners[2]) / 2
    down = (corners[2] + corners[3] - corners[0] - corners[1]) / 2
    contour = torch.hypot(right, down).sum((1, 2))
    return torch.where(contour > 0, 2 * ink.sum((1, 2)) / contour, 0)


def height_to_width(ink: Tensor) -> Tensor:
    """The logarithm of the ratio of the ink's height to its width, [n]; 0 without ink.

    Height and width are standard deviations of the ink, so that a filled rectangle of a x b pixels has log(a / b).

    Args:
        ink: float [n, h, w] in [0, 1].
    """
    horizontal, _, vertical = _second_moments(ink)
    return 0.5 * torch.log((vertical + _PIXEL_VARIANCE) / (horizontal + _PIXEL_VARIANCE))


def _second_moments(ink: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """mu_xx, mu_xy and mu_yy of each image, divided by its ink, y growing downwards; 0 without ink."""
    height, width = ink.shape[-2:]
    y = torch.arange(height, dtype=ink.dtype, device=ink.device)[:, None]
    x = torch.arange(width, dtype=ink.dtype, device=ink.device)
    mass = ink.sum((1, 2)).clamp(min=torch.finfo(ink.dtype).tiny)
    down = y - ((ink * y).sum((1, 2)) / mass)[:, None, None]
    right = x - ((ink * x).sum((1, 2)) / mass)[:, None, None]
    products = right.square(), right * down, down.square()
    horizontal, mixed, vertical = ((ink * product).sum((1, 2)) / mass for product in products)
    return horizontal, mixed, vertical
