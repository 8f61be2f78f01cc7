"""Precision and recall of generated images, by nearest neighbours."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from genprior import ScoreError
from genprior_std.scores.distance import DistanceConfig, DistanceScore
from genprior_std.scores.entropy import random_rows

__all__ = ["ROWS", "PrecisionRecall", "distances", "neighbourhood_coverage", "neighbourhood_radius"]

ROWS = 1_000
"""How many rows of the distance matrix are held at a time: 0.4 GB for 50,000 images in double precision."""


NEAR = 1e-6
"""The rounding of distances of equal points, relative to their lengths: the square root of some 1e-13."""


def neighbourhood_coverage(generated: Tensor, real: Tensor, neighborhood: int) -> tuple[float, float]:
    """Precision and recall of features by balls that reach to the k-th nearest neighbour of their own set.

    Precision is the share of generated features inside the ball of some real one; recall is the share of real
    features inside the ball of some generated one.

    Args:
        generated: features [n, f].
        real: features [m, f].
        neighborhood: k; a point is not its own neighbour.

    Raises:
        ScoreError: one of them has fewer than k + 1 rows.
    """
    for what, rows in (("generated", generated), ("real", real)):
        if len(rows) <= neighborhood:
            raise ScoreError(
                f"precision and recall with a neighbourhood of {neighborhood} need at least {neighborhood + 1} images, "
                f"and there are {len(rows)} {what} ones; give it more, or lower 'neighborhood'"
            )
    x, y = generated.double(), real.double()
    reach_x, reach_y = neighbourhood_radius(x, neighborhood), neighbourhood_radius(y, neighborhood)
    inside_real = []
    inside_generated = torch.zeros(len(y), dtype=torch.bool, device=y.device)
    for block, reach in zip(torch.split(x, ROWS), torch.split(reach_x, ROWS), strict=True):
        between = distances(block, y)
        inside_real.append((between <= reach_y).any(1))
        inside_generated |= (between <= reach[:, None]).any(0)
    return float(torch.cat(inside_real).double().mean()), float(inside_generated.double().mean())


def neighbourhood_radius(points: Tensor, neighborhood: int) -> Tensor:
    """The distance of each of the points [n, f] to its k-th nearest neighbour among them, [n]."""
    # The nearest of all is the point itself.
    return torch.cat(
        [distances(block, points).kthvalue(neighborhood + 1).values for block in torch.split(points, ROWS)]
    )


def distances(x: Tensor, y: Tensor) -> Tensor:
    """The Euclidean distances between points [n, f] and [m, f]: [n, m]; between equal ones exactly 0.

    They are computed from products, which is fast, and rounded: what is below 1e-6 of the lengths of both is set to 0.
    """
    between = torch.cdist(x, y)
    lengths = x.square().sum(1)[:, None] + y.square().sum(1)
    return between.masked_fill_(between.square() <= NEAR**2 * lengths, 0)


class PrecisionRecall(DistanceScore):
    """How many generated images lie among real ones (precision), and how many real among generated ones (recall).

    Writes `precision` and `recall`, or `classifier_precision` and `classifier_recall` where the classifier gave the
    features. As both depend on how many images there are, as many real images are taken as generated ones (at random
    under a fixed seed), or all where there are fewer. Against the training split, `real_` values are those of the
    test split. Memory is bounded by blocks of the distance matrix.

    References:
        Kynkaanniemi et al., Improved Precision and Recall Metric for Assessing Generative Models, 2019, equations 1
        and 2, https://arxiv.org/abs/1904.06991
    """

    name = "precision_recall"
    title = "precision and recall"
    higher_is_better = True
    titles = {"precision": ("precision", True), "recall": ("recall", True)}
    filled = {"neighborhood": 1}

    class Config(DistanceConfig):
        """Which images are compared, through which network, and how near a neighbour is."""

        samples: int = Field(default=10_000, gt=1)
        """How many generated images, and at most how many real ones; time grows with the square."""
        neighborhood: int = Field(default=3, gt=0)
        """k: a ball reaches to the k-th nearest neighbour."""

    def enough(self, images: int) -> bool:
        """Whether each image has a k-th neighbour."""
        return images > int(self.config.neighborhood)

    def compare(self, generated: Tensor, real: Tensor) -> dict[str, float]:
        """Precision and recall of features [n, f] against [m, f]."""
        precision, recall = neighbourhood_coverage(
            generated, random_rows(real, len(generated)), self.config.neighborhood
        )
        return {"precision": precision, "recall": recall}
