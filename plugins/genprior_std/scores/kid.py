"""The kernel distance between features."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from genprior import ScoreError
from genprior_std.scores.distance import DistanceConfig, DistanceScore

__all__ = ["KID", "kernel_distance"]

_SEED = 2020
"""torch-fidelity's seed, so that the subsets are its subsets."""


def kernel_distance(generated: Tensor, real: Tensor, subsets: int, subset_size: int) -> tuple[float, float]:
    """The mean and spread over subsets of the unbiased squared MMD under the kernel (x . y / f + 1)^3.

    Args:
        generated: features [n, f].
        real: features [m, f].
        subsets: how many pairs of random subsets.
        subset_size: how many images each subset holds.

    Raises:
        ScoreError: there are fewer images than a subset holds.
    """
    for what, rows in (("generated", generated), ("real", real)):
        if len(rows) < subset_size:
            raise ScoreError(
                f"KID draws subsets of {subset_size} images, and there are {len(rows)} {what} ones; "
                f"set 'subset_size' to {len(rows)} or less, or give it more images"
            )
    x, y = generated.double(), real.double()
    draw = np.random.RandomState(_SEED)
    distances = []
    for _ in range(subsets):
        of_x, of_y = (torch.from_numpy(draw.choice(len(rows), subset_size, replace=False)) for rows in (x, y))
        distances.append(_squared_mmd(x[of_x.to(x.device)], y[of_y.to(y.device)]))
    every = torch.stack(distances)
    return float(every.mean()), float(every.std(correction=0))


def _squared_mmd(x: Tensor, y: Tensor) -> Tensor:
    """The unbiased estimate from x [k, f] and y [k, f]: pairs of an image with itself are left out."""
    k = len(x)
    within = sum(kernel.sum() - kernel.diagonal().sum() for kernel in (_cubic(x, x), _cubic(y, y)))
    return within / (k * (k - 1)) - 2 * _cubic(x, y).mean()


def _cubic(x: Tensor, y: Tensor) -> Tensor:
    base = (x @ y.T).div_(x.shape[1]).add_(1)
    # Not `base**3`: a general power costs more than the matrix product.
    return base.square().mul_(base)


class KID(DistanceScore):
    """The squared maximum mean discrepancy of features under a cubic kernel; lower is better.

    Writes `kid` and `kid_std` over the subsets (it is unbiased, so values slightly below 0 are right), or
    `classifier_kid` and `classifier_kid_std` where the classifier gave the features. Against the training split,
    `real_kid` is that of the test split; it is left out where that split is smaller than a subset.

    References:
        Binkowski et al., Demystifying MMD GANs, 2018, section 4, https://arxiv.org/abs/1801.01401
    """

    name = "kid"
    title = "KID"
    higher_is_better = False
    titles = {"kid": ("KID", False)}
    filled = {"subset_size": 0}

    class Config(DistanceConfig):
        """Which images are compared, through which network, and in which subsets."""

        subsets: int = Field(default=100, gt=0)
        """How many pairs of random subsets the distance is the mean of."""
        subset_size: int = Field(default=1_000, gt=1)
        """How many images a subset holds; there must be as many generated and real ones."""

    def enough(self, images: int) -> bool:
        """Whether the images fill a subset."""
        return images >= int(self.config.subset_size)

    def compare(self, generated: Tensor, real: Tensor) -> dict[str, float]:
        """The kernel distance of features [n, f] and [m, f], and its spread."""
        mean, spread = kernel_distance(generated, real, self.config.subsets, self.config.subset_size)
        return {"kid": mean, "kid_std": spread}
