"""Density and coverage of generated images, by nearest neighbours of real ones."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from genprior import ScoreError
from genprior_std.scores.distance import DistanceConfig, DistanceScore
from genprior_std.scores.entropy import random_rows
from genprior_std.scores.precision_recall import ROWS, distances, neighbourhood_radius

__all__ = ["DensityCoverage", "density_and_coverage"]


def density_and_coverage(generated: Tensor, real: Tensor, neighborhood: int) -> tuple[float, float]:
    """Density and coverage of features by the balls B_i of real ones, which reach to their k-th nearest real neighbour.

        density  = 1 / (k n) sum_j sum_i [x_j in B_i],    coverage = 1 / m sum_i [some x_j in B_i]

    A point on the edge of a ball is outside, as in the authors' package `prdc`, so no point is in the ball around more
    than k equal images, of which the radius is 0.

    Args:
        generated: x, features [n, f].
        real: y, features [m, f], the centres of the balls.
        neighborhood: k; a point is not its own neighbour.

    Raises:
        ScoreError: there are no generated features, or fewer than k + 1 real ones.
    """
    for what, rows, least in (("generated", generated, 1), ("real", real, neighborhood + 1)):
        if len(rows) < least:
            raise ScoreError(
                f"density and coverage with a neighbourhood of {neighborhood} need at least {least} {what} images, and "
                f"there are {len(rows)}; give it more" + (", or lower 'neighborhood'" if what == "real" else "")
            )
    x, y = generated.double(), real.double()
    radius = neighbourhood_radius(y, neighborhood)
    inside = torch.zeros((), dtype=torch.int64, device=y.device)
    covered = torch.zeros(len(y), dtype=torch.bool, device=y.device)
    for block in torch.split(x, ROWS):
        within = distances(block, y) < radius
        inside += within.sum()
        covered |= within.any(0)
    return float(inside) / (neighborhood * len(x)), float(covered.double().mean())


class DensityCoverage(DistanceScore):
    """How densely real images surround generated ones (density), and how many have one nearby (coverage).

    Both count generated images in the balls around real images that reach to their k-th nearest real neighbour; see
    `density_and_coverage`. Density is how many balls an image is in, over k: its mean for perfect samples is 1, and it
    may be larger. Unlike precision, one outlier among the real images, whose ball is large, changes it little. Coverage
    is the share of balls with a generated image in them, from 0 to 1; that of perfect samples is 1 - 2^-k for as many
    real images.

    Writes `density` and `coverage`, or `classifier_density` and so on where another network gave the features. As both
    depend on how many images there are, as many real images are taken as generated ones (at random under a fixed seed),
    or all where there are fewer. Against the training split, `real_` values are those of the test split.

    References:
        Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models, 2020, section 3,
        https://arxiv.org/abs/2002.09797
    """

    name = "density_coverage"
    title = "density and coverage"
    higher_is_better = True
    titles = {"density": ("density", True), "coverage": ("coverage", True)}
    filled = {"neighborhood": 1}

    class Config(DistanceConfig):
        """Which images are compared, through which network, and how near a neighbour is."""

        samples: int = Field(default=10_000, gt=1)
        """How many generated images, and at most how many real ones; time grows with the square."""
        neighborhood: int = Field(default=5, gt=0)
        """k: a ball reaches to the k-th nearest real neighbour of its centre."""

    def enough(self, images: int) -> bool:
        """Whether each real image has a k-th neighbour where as many are taken."""
        return images > int(self.config.neighborhood)

    def compare(self, generated: Tensor, real: Tensor) -> dict[str, float]:
        """Density and coverage of features [n, f] against [m, f]."""
        density, coverage = density_and_coverage(generated, random_rows(real, len(generated)), self.config.neighborhood)
        return {"density": density, "coverage": coverage}
