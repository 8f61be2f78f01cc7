"""Distances between two samples of codes, which a model can minimise without a critic."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from genprior import PlanError

__all__ = ["Kernel", "sliced_wasserstein", "squared_mmd"]

Kernel = Literal["imq", "rbf"]
"""Kernels of the maximum mean discrepancy: inverse multiquadratics, or Gaussian (radial basis functions)."""

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Factors of the kernels' width; a sum of widths tells codes apart that are near and that are far."""


def squared_mmd(z: Tensor, other: Tensor, kernel: Kernel, sigma: float) -> Tensor:
    """The squared maximum mean discrepancy of two distributions, estimated without bias from a sample of each.

        MMD^2 = sum_{i != j} k(z_i, z_j) / (n (n - 1)) + sum_{i != j} k(y_i, y_j) / (m (m - 1))
                - 2 sum_{i, j} k(z_i, y_j) / (n m)

        imq:  k(z, y) = sum_s s C / (s C + |z - y|^2),    C = 2 d sigma^2
        rbf:  k(z, y) = sum_s exp(-|z - y|^2 / (s C)),    s in {0.1, 0.2, 0.5, 1, 2, 5, 10}

    C is the mean squared distance of two draws from N(0, sigma^2 I). The estimate can be negative: it is 0 on average
    if both distributions are the same. Computed in at least single precision.

    Args:
        z: codes [n, d], n >= 2.
        other: codes y [m, d], m >= 2.
        kernel: "imq" or "rbf".
        sigma: the scale of codes.

    Returns:
        A scalar, differentiable in both samples.

    Raises:
        PlanError: a sample is a single code.

    References:
        Gretton et al., A kernel two-sample test, 2012, lemma 6 (the estimate).
        Tolstikhin et al., Wasserstein auto-encoders, 2018, algorithm 2 and section 4 (the kernel `imq`); the scales are
        those of its code.
    """
    n, m = len(z), len(other)
    if min(n, m) < 2:
        raise PlanError(
            "the maximum mean discrepancy compares pairs of codes, and a batch has one image. "
            'Set run.batch to 2 or more, or divergence = "sliced"'
        )
    with torch.autocast(z.device.type, enabled=False):
        wide = torch.promote_types(z.dtype, torch.float32)
        z, other = z.to(wide), other.to(wide)
        # Distances do not depend on the origin; near the codes' centre, |a|^2 - 2 a b + |b|^2 loses the fewest digits.
        centre = other.detach().mean(0)
        both = torch.cat([z - centre, other - centre])
        squares = both.square().sum(1)
        distances = (squares[:, None] + squares - 2 * both @ both.T).clamp(min=0)
        similar = _kernel(distances, kernel, 2 * z.shape[1] * sigma**2)
        same, cross, same_other = similar[:n, :n], similar[:n, n:], similar[n:, n:]
        # k(z, z) is a constant; the diagonal is taken out as it was put in. The gradient of `trace` waits for a GPU.
        within = (same.sum() - same.diagonal().sum()) / (n * (n - 1))
        within_other = (same_other.sum() - same_other.diagonal().sum()) / (m * (m - 1))
        return within + within_other - 2 * cross.mean()


def _kernel(distances: Tensor, kernel: Kernel, c: float) -> Tensor:
    """The kernel at squared distances, summed over the scales; of the same shape."""
    widths = [scale * c for scale in SCALES]
    if kernel == "imq":
        return torch.stack([width / (width + distances) for width in widths]).sum(0)
    return torch.stack([(-distances / width).exp() for width in widths]).sum(0)


def sliced_wasserstein(z: Tensor, other: Tensor, projections: int) -> Tensor:
    """The squared sliced 2-Wasserstein distance of two samples of equal size, over random directions.

        SW^2 = 1/L sum_l 1/n sum_i (a_l,(i) - b_l,(i))^2,    a_l = z theta_l,  b_l = y theta_l,  |theta_l| = 1

    a_(i) is the i-th smallest: in one dimension, optimal transport matches sorted numbers. A shift of all codes by c
    gives |c|^2 / d on average. Computed in at least single precision.

    Args:
        z: codes [n, d].
        other: codes y [n, d].
        projections: L, the number of directions, drawn uniformly from the unit sphere.

    Returns:
        A scalar, differentiable in both samples.

    References:
        Kolouri et al., Sliced-Wasserstein autoencoder, 2018, algorithm 1.
    """
    with torch.autocast(z.device.type, enabled=False):
        wide = torch.promote_types(z.dtype, torch.float32)
        directions = functional.normalize(torch.randn(z.shape[1], projections, device=z.device, dtype=wide), dim=0)
        a, b = ((codes.to(wide) @ directions).sort(dim=0).values for codes in (z, other))
        return (a - b).square().mean()
