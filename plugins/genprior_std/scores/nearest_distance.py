"""How far generated images are from the nearest real ones."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from genprior_std.scores.distance import DistanceConfig, DistanceScore, Network

__all__ = ["NearestDistance", "nearest_distances"]

ROWS = 1_000
"""How many rows of the distance matrix are held at a time: 0.4 GB for 50,000 images in double precision."""


def nearest_distances(generated: Tensor, real: Tensor) -> Tensor:
    """min_j |x_i - y_j| / f^(1/2): the root mean square difference to the nearest real features, float64 [n].

    Args:
        generated: x, features [n, f].
        real: y, features [m, f].
    """
    x, y = generated.double(), real.double()
    # By differences, not by |x|^2 - 2 x.y + |y|^2, whose rounding would keep the distance to a copy from being 0.
    mode = "donot_use_mm_for_euclid_dist"
    nearest = [torch.cdist(block, y, compute_mode=mode).amin(1) for block in torch.split(x, ROWS)]
    return torch.cat(nearest) / math.sqrt(x.shape[1])


class NearestDistance(DistanceScore):
    """The mean distance of generated images to their nearest training image, in features; 0 for copies.

        1 / n sum_i min_j |x_i - y_j| / f^(1/2)

    x_i are the f features of a generated image, y_j those of a training image (or of the split `reference`). Lower is
    nearer to the data; far below `real_`, which is the same of the held-out test split, means copies of training
    images. Writes `random_features_nearest_distance`, as by default the features are those of an untrained network;
    `nearest_distance` of Inception, `classifier_nearest_distance` of the classifier.

    More training images are nearer, so compare distances to one training set only.
    """

    name = "nearest_distance"
    title = "nearest distance"
    higher_is_better = False
    titles = {"nearest_distance": ("nearest distance", False)}

    class Config(DistanceConfig):
        """Which images are compared, and through which network."""

        extractor: Network = "random"
        """Inception, a classifier of the data's own classes, or untrained with random weights."""
        samples: int = Field(default=10_000, gt=0)
        """How many generated images; time grows with their number times that of training images."""

    def compare(self, generated: Tensor, real: Tensor) -> dict[str, float]:
        """The mean distance of features [n, f] to the nearest of [m, f]."""
        return {"nearest_distance": float(nearest_distances(generated, real).mean())}
