"""Density and coverage, against their definition in loops, the authors' package, and their expectations."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genprior.errors import ScoreError
from genprior.parts import ImageSet
from genprior_std.scores import density_coverage, precision_recall
from genprior_std.scores.density_coverage import DensityCoverage, density_and_coverage
from genprior_std.scores.fid import FID


def normal(n, width, seed, shift=0.0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed)) + shift


def by_definition(generated, real, k):
    """The two formulas of the paper, image by image."""
    x, y = generated.double().numpy(), real.double().numpy()
    radius = []
    for i in range(len(y)):
        others = [np.linalg.norm(y[i] - y[j]) for j in range(len(y)) if j != i]
        radius.append(sorted(others)[k - 1])
    density = sum(np.linalg.norm(y[i] - point) < radius[i] for point in x for i in range(len(y))) / (k * len(x))
    coverage = sum(any(np.linalg.norm(y[i] - point) < radius[i] for point in x) for i in range(len(y))) / len(y)
    return density, coverage


@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(7, 30), st.integers(1, 6), st.sampled_from([0.0, 1.0]))
@settings(max_examples=25, deadline=None)
def test_equal_to_the_definition(seed, n, m, k, shift):
    x, y = normal(n, 3, seed, shift), normal(m, 3, seed + 1)
    assert density_and_coverage(x, y, k) == pytest.approx(by_definition(x, y, k), abs=1e-12)


def test_equal_to_the_package_of_the_authors():
    prdc = pytest.importorskip("prdc")
    x, y = normal(300, 16, 0, 0.3), normal(250, 16, 1)
    found = prdc.compute_prdc(real_features=y.numpy(), fake_features=x.numpy(), nearest_k=5)
    assert density_and_coverage(x, y, 5) == pytest.approx((found["density"], found["coverage"]), abs=1e-4)


def test_of_one_distribution_they_have_their_known_expectations():
    """E density = 1, E coverage = 1 - prod_{i<k} (m - 1 - i) / (n + m - 1 - i), whatever the distribution."""
    n, m, k, repeats = 60, 40, 5, 200
    found = np.array(
        [density_and_coverage(normal(n, 4, seed), normal(m, 4, seed + 1000), k) for seed in range(repeats)]
    )
    missed = math.prod((m - 1 - i) / (n + m - 1 - i) for i in range(k))
    error = 4 * found.std(0) / math.sqrt(repeats)
    assert (abs(found.mean(0) - [1, 1 - missed]) < error).all()


def test_far_images_have_none_and_copies_cover_all():
    y = normal(50, 3, 0)
    assert density_and_coverage(y + 100, y, 5) == (0, 0)
    assert density_and_coverage(y, y, 5)[1] == 1
    one = y[:1].expand(50, -1)
    assert density_and_coverage(one, y, 5)[1] < 0.3  # a single image many times


def test_blocks_do_not_change_the_numbers(monkeypatch):
    x, y = normal(50, 3, 0), normal(40, 3, 1)
    whole = density_and_coverage(x, y, 5)
    monkeypatch.setattr(density_coverage, "ROWS", 7)
    monkeypatch.setattr(precision_recall, "ROWS", 7)
    assert density_and_coverage(x, y, 5) == whole


def test_keys_and_as_many_real_images_as_samples(make_context, seen_through, monkeypatch):
    counts = []
    compare = density_coverage.density_and_coverage
    monkeypatch.setattr(
        density_coverage, "density_and_coverage", lambda x, y, k: counts.append((len(x), len(y))) or compare(x, y, k)
    )
    context = seen_through(make_context())
    found = DensityCoverage.Config(samples=100).make().measure(context)
    keys = ["density", "coverage", "real_density", "real_coverage", "real_density_images", "real_coverage_images"]
    assert list(found) == keys and counts == [(100, 100), (60, 60)]
    found = DensityCoverage.Config(samples=100, extractor="classifier", reference="test").make().measure(context)
    assert list(found) == ["classifier_density", "classifier_coverage"] and counts[2:] == [(100, 60)]


def test_too_few_real_images_are_refused():
    with pytest.raises(ScoreError) as caught:
        density_and_coverage(normal(9, 2, 0), normal(5, 2, 1), 5)
    assert str(caught.value) == (
        "density and coverage with a neighbourhood of 5 need at least 6 real images, and there are 5; give it more, or "
        "lower 'neighborhood'"
    )
    with pytest.raises(ScoreError, match="is asked of 5 samples with neighborhood = 5, which needs at least 6;"):
        DensityCoverage.Config(samples=5).make().check()


@given(st.integers(0, 10_000), st.floats(-1e3, 1e3))
@settings(max_examples=25, deadline=None)
def test_equal_images_are_at_distance_0(seed, shift):
    """Products round the distances of equal features, which would make balls around them of a random size."""
    one = (torch.rand(1, 64, generator=torch.Generator().manual_seed(seed)) + shift).expand(50, -1)
    assert density_and_coverage(one, one, 5) == (0, 0)
    distinct = normal(20, 64, seed, shift)
    y = distinct.repeat(6, 1)
    assert density_and_coverage(distinct, y, 5) == (0, 0)  # each ball has the radius 0
    assert density_and_coverage(distinct + 1e-3 * torch.rand(20, 64), y, 5) == (0, 0)
    assert precision_recall.neighbourhood_coverage(one, one, 3) == (1, 1)  # the edge of a ball is inside


def test_few_samples_and_few_real_images_are_refused_before_training():
    def load(n):
        return lambda split: ImageSet(torch.zeros(n, 1, 8, 8, dtype=torch.uint8), torch.zeros(n, dtype=torch.int64), ())

    of = functools.partial(DensityCoverage.Config, extractor="random")
    message = "neighborhood = 5 needs samples = 6 or more, and samples = 5; raise samples, or lower neighborhood"
    with pytest.raises(ScoreError, match=message):
        of(samples=5).make().check_row(None, load(10))
    message = (
        'real images, of which reference = "test" has 5, .* a larger data set, lower neighborhood = 5, or leave the'
    )
    with pytest.raises(ScoreError, match=message):
        of(samples=6, reference="test").make().check_row(None, load(5))
    of(samples=6).make().check_row(None, load(6))
    of(samples=6, reference="all").make().check_row(None, load(3))
    with pytest.raises(ScoreError, match='reference = "train" has 1, and that is too few; use a larger data set, or'):
        FID.Config(extractor="random").make().check_row(None, load(1))


def test_weights_of_inception_are_refused_with_another_network():
    with pytest.raises(ValueError, match="extractor is 'random', which has its own; leave 'weights' out"):
        DensityCoverage.Config(extractor="random", weights="inception.pth")


def test_larger_balls_cover_no_less(make_context, seen_through):
    context = seen_through(make_context())
    coverage = [
        DensityCoverage.Config(samples=60, neighborhood=k).make().measure(context)["coverage"] for k in (1, 3, 9)
    ]
    assert coverage == sorted(coverage) and coverage[0] < coverage[2]
