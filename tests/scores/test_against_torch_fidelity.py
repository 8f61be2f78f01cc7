"""The distances between features, number by number against torch-fidelity's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from genprior_std.scores.fid import frechet_distance
from genprior_std.scores.kid import kernel_distance
from genprior_std.scores.precision_recall import neighbourhood_coverage


def rng(seed):
    return np.random.default_rng(seed)


def correlated(n, width, seed, rank=None):
    """Features with a decaying spectrum, of rank at most `rank`."""
    draw = rng(seed)
    scale = np.logspace(0, -3, width)
    mix = np.linalg.qr(rng(99).normal(size=(width, width)))[0]
    if rank is not None:
        scale[rank:] = 0
    return torch.tensor(draw.normal(size=(n, width)) * scale @ mix + 0.1 * draw.normal(size=width))


@pytest.mark.parametrize(
    ("n", "m", "rank"),
    [
        (30, 25, None),  # both have fewer images than features: no covariance has full rank
        (30, 400, None),
        (400, 25, None),
        (400, 300, None),
        (400, 300, 40),  # features that depend on each other: again no full rank
        (60, 61, None),  # as many images as features
    ],
)
def test_frechet_distance_is_torch_fidelitys(n, m, rank):
    generated, real = correlated(n, 60, 20, rank), correlated(m, 60, 21, rank)
    statistics = [fid_features_to_statistics(rows) for rows in (generated, real)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert expected > 1e-2
    assert frechet_distance(generated, real) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_with_features_that_never_change():
    a, b = correlated(200, 10, 22), correlated(150, 10, 23)
    dead = torch.zeros(1, 5, dtype=torch.float64)
    wider = [torch.cat([rows, dead.expand(len(rows), -1)], 1) for rows in (a, b)]
    assert frechet_distance(*wider) == pytest.approx(frechet_distance(a, b), rel=1e-9)


def test_kernel_distance_draws_torch_fidelitys_subsets():
    a, b = torch.tensor(rng(24).normal(size=(90, 12))), torch.tensor(rng(25).normal(size=(70, 12)) + 0.2)
    expected = kid_features_to_metric(a, b, kid_subsets=7, kid_subset_size=40, verbose=False)
    found = kernel_distance(a, b, subsets=7, subset_size=40)
    expected = (expected["kernel_inception_distance_mean"], expected["kernel_inception_distance_std"])
    assert found == pytest.approx(expected, rel=1e-9) and found[1] > 0


@pytest.mark.parametrize(("n", "m"), [(1300, 1100), (200, 2100)])
def test_coverage_is_torch_fidelitys(n, m):
    generated, real = torch.tensor(rng(26).normal(size=(n, 8)) * 0.8), torch.tensor(rng(27).normal(size=(m, 8)))
    expected = prc_features_to_metric(
        generated, real, prc_neighborhood=3, prc_batch_size=500, save_cpu_ram=True, verbose=False
    )
    assert 0 < expected["recall"] < 1 and 0 < expected["precision"] < 1
    found = neighbourhood_coverage(generated, real, 3)
    assert found == pytest.approx((expected["precision"], expected["recall"]), abs=1e-6)
