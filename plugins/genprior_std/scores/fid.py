"""The Frechet distance between Gaussians fitted to features."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genprior import ScoreError
from genprior_std.scores.distance import DistanceConfig, DistanceScore

__all__ = ["FID", "frechet_distance"]


def frechet_distance(generated: Tensor, real: Tensor) -> float:
    """|mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2)) of the sample means and unbiased sample covariances.

    With S_i = A_i' A_i, the eigenvalues of S_1 S_2 are the squared singular values of A_1 A_2', so that
    tr (S_1 S_2)^(1/2) is the sum of these singular values: no general eigenvalues, no complex numbers, and nothing is
    squared. Of fewer images than features, A is the centred features themselves, [n, f].

    Args:
        generated: features [n, f].
        real: features [m, f].

    Raises:
        ScoreError: one of them has fewer than two rows.
    """
    for what, rows in (("generated", generated), ("real", real)):
        if len(rows) < 2:
            raise ScoreError(f"FID needs a covariance, so at least 2 {what} images; there are {len(rows)}")
    (mean_1, a_1), (mean_2, a_2) = (_mean_and_factor(rows.double()) for rows in (generated, real))
    covariance = torch.linalg.svdvals(a_1 @ a_2.T).sum()
    distance = (mean_1 - mean_2).square().sum() + a_1.square().sum() + a_2.square().sum() - 2 * covariance
    return float(distance)


def _mean_and_factor(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The mean [f] of rows [n, f], and A [r, f], r = min(n, f), such that A' A is their sample covariance."""
    mean = rows.mean(0)
    centred = (rows - mean) / math.sqrt(len(rows) - 1)
    if len(rows) <= rows.shape[1]:
        return mean, centred
    covariance = centred.T @ centred
    lower, failed = torch.linalg.cholesky_ex(covariance)
    if not failed:
        return mean, lower.T
    # A covariance of less than full rank: features that never change, or that depend on each other.
    values, vectors = torch.linalg.eigh(covariance)
    return mean, values.clamp_min(0).sqrt()[:, None] * vectors.T


class FID(DistanceScore):
    """The Frechet distance between Gaussians fitted to the features of generated and of real images; lower is better.

    Writes `fid`, or `classifier_fid` where the classifier gave the features: those are different quantities, and only
    the first is what papers print. Against the training split (the default), `real_fid` or `real_classifier_fid` is
    that of the test split.

    FID is biased upwards in finite samples, by about 1 / n in each count, and more so the more features there are. A
    test split of a few hundred images therefore has a clear distance from its own training split, and can come out
    farther from it than many samples of a good model: compare FIDs of equal counts only. Published numbers use 50,000
    samples (or say otherwise).

    References:
        Heusel et al., GANs Trained by a Two Time-Scale Update Rule, 2017, equation 6,
        https://arxiv.org/abs/1706.08500
        Chong and Forsyth, Effectively Unbiased FID and Inception Score, 2020, https://arxiv.org/abs/1911.07023
    """

    name = "fid"
    title = "FID"
    higher_is_better = False
    titles = {"fid": ("FID", False)}

    class Config(DistanceConfig):
        """Which images are compared, and through which network."""

    def compare(self, generated: Tensor, real: Tensor) -> dict[str, float]:
        """The Frechet distance of features [n, f] and [m, f]."""
        return {"fid": frechet_distance(generated, real)}
