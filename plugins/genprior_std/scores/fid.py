"""The Frechet distance between Gaussians fitted to features."""

from __future__ import annotations

from torch import Tensor

from genprior.errors import ScoreError
from genprior_std.scores.distance import DistanceConfig, DistanceScore

__all__ = ["FID", "frechet_distance"]


def frechet_distance(generated: Tensor, real: Tensor) -> float:
    """|mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2)) of the sample means and unbiased sample covariances.

    Args:
        generated: features [n, f].
        real: features [m, f].

    Raises:
        ScoreError: one of them has fewer than two rows.
    """
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    for what, rows in (("generated", generated), ("real", real)):
        if len(rows) < 2:
            raise ScoreError(f"FID needs a covariance, so at least 2 {what} images; there are {len(rows)}")
    # Double precision: torch-fidelity takes the mean in the dtype that it is given.
    statistics = [fid_features_to_statistics(rows.double()) for rows in (generated, real)]
    return float(fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID])


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
