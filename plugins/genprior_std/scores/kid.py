"""The kernel distance between features."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from genprior.errors import ScoreError
from genprior_std.scores.distance import DistanceConfig, DistanceScore

__all__ = ["KID", "kernel_distance"]


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
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

    for what, rows in (("generated", generated), ("real", real)):
        if len(rows) < subset_size:
            raise ScoreError(
                f"KID draws subsets of {subset_size} images, and there are {len(rows)} {what} ones; "
                f"set 'subset_size' to {len(rows)} or less, or give it more images"
            )
    found = kid_features_to_metric(
        generated.double(), real.double(), kid_subsets=subsets, kid_subset_size=subset_size, verbose=False
    )
    return found[KEY_METRIC_KID_MEAN], found[KEY_METRIC_KID_STD]


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

    class Config(DistanceConfig):
        """Which images are compared, through which network, and in which subsets."""

        subsets: int = Field(default=100, gt=0)
        """How many pairs of random subsets the distance is the mean of."""
        subset_size: int = Field(default=1_000, gt=1)
        """How many images a subset holds; there must be as many generated and real ones."""

    def enough(self, images: int) -> bool:
        """Whether they fill a subset."""
        return images >= int(self.config.subset_size)

    def compare(self, generated: Tensor, real: Tensor) -> dict[str, float]:
        """The kernel distance of features [n, f] and [m, f], and its spread."""
        mean, spread = kernel_distance(generated, real, self.config.subsets, self.config.subset_size)
        return {"kid": mean, "kid_std": spread}
