"""The formula of the Inception score, for the logits of any network."""

from __future__ import annotations

import torch
from torch import Tensor

from genprior import Extractor, SampleContext, ScoreError

__all__ = ["entropy_score", "random_rows", "score_samples_and_real"]


def entropy_score(logits: Tensor, splits: int) -> tuple[float, float]:
    """The mean and the population standard deviation over splits of exp(E_x KL(p(y|x) || p(y))).

    p(y) is the mean of p(y|x) within the split; images are shuffled first, under torch-fidelity's seed.

    Args:
        logits: [n, k].
        splits: into how many equal parts.

    Raises:
        ScoreError: there are fewer images than splits.

    References:
        Salimans et al., Improved Techniques for Training GANs, 2016, section 4, https://arxiv.org/abs/1606.03498
    """
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric

    if len(logits) < splits:
        raise ScoreError(
            f"{splits} splits need at least {splits} images, and there are {len(logits)}; "
            "raise 'samples' (each split should hold hundreds of images) or lower 'splits'"
        )
    found = isc_features_to_metric(logits, splits=splits)
    return found[KEY_METRIC_ISC_MEAN], found[KEY_METRIC_ISC_STD]


def score_samples_and_real(
    name: str, context: SampleContext, extractor: Extractor, samples: int, splits: int
) -> dict[str, float]:
    """The score of generated images and of held-out real ones.

    The score is biased downwards in small splits (by about (k - 1) / (2 n) in its logarithm for k classes and n
    images), so the real images are put into splits of the size of the generated ones', at least one, at most `splits`.

    Raises:
        ScoreError: there are fewer images than splits.
    """
    mean, spread = entropy_score(context.features(extractor, "generated", samples).logits, splits)
    real = random_rows(context.features(extractor, "test").logits, samples)
    real_splits = min(splits, max(1, round(len(real) * splits / samples)))
    real_mean, _ = entropy_score(real, real_splits)
    counted = {f"real_{name}_images": float(len(real))}
    return {name: mean, f"{name}_std": spread, f"real_{name}": real_mean, **counted}


def random_rows(rows: Tensor, n: int) -> Tensor:
    """Take n rows at random under a fixed seed, or all where there are not more: a folder may be sorted by class."""
    if len(rows) <= n:
        return rows
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(2020))
    return rows[order[:n]]
