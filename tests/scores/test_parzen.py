"""The Parzen window, against SciPy's and the formula, and its protocol."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.special import logsumexp
from scipy.stats import gaussian_kde, norm

from genprior.errors import DataError, ScoreError
from genprior.parts import ImageSet
from genprior.scoring.context import SampleContext
from genprior.scoring.measure import columns_of, measure_all
from genprior_std.datasets.digits import Digits
from genprior_std.scores.parzen import SIGMAS, Parzen, parzen_log_likelihood


def bytes_of(seed, n, shape=(1, 2, 3), low=0, high=256):
    return torch.tensor(np.random.default_rng(seed).integers(low, high, (n, *shape)), dtype=torch.uint8)


def chosen(rows, n):
    """n rows of a random order under the fixed seed."""
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(2020))[:n]]


def by_hand(x, samples, sigma):
    """The formula, of differences."""
    x, s = x.flatten(1).numpy() / 255, samples.flatten(1).numpy() / 255
    return logsumexp(norm.logpdf(x[:, None], s[None], sigma).sum(2), axis=1) - math.log(len(s))


@given(
    seed=st.integers(0, 1000), n=st.integers(1, 20), m=st.integers(1, 20), side=st.integers(1, 9),
    sigma=st.floats(0.01, 3),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_it_is_the_formula(seed, n, m, side, sigma):
    x, samples = bytes_of(seed, n, (3, side, side)), bytes_of(seed + 1, m, (3, side, side))
    found = parzen_log_likelihood(x, samples, [sigma, 1.0])
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found[0], by_hand(x, samples, sigma), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found[1], by_hand(x, samples, 1.0), rtol=1e-9, atol=1e-9)


def test_it_is_scipys_where_the_covariance_is_a_multiple_of_one():
    # The 2^2 corners of a square: the sample covariance with 1/(n - 1) is c I, and SciPy's window has factor^2 c I.
    samples = torch.tensor([[0, 0], [0, 200], [200, 0], [200, 200]], dtype=torch.uint8).view(4, 1, 1, 2)
    x = bytes_of(2, 700, (1, 1, 2))
    factor = 0.4
    c = (100 / 255) ** 2 * 4 / 3
    kde = gaussian_kde(samples.flatten(1).numpy().T / 255, bw_method=factor)
    expected = kde.logpdf(x.flatten(1).numpy().T / 255)
    np.testing.assert_allclose(parzen_log_likelihood(x, samples, [factor * math.sqrt(c)])[0], expected, rtol=1e-9)


def test_it_integrates_to_one_over_two_pixels():
    samples = bytes_of(3, 5, (1, 1, 2), 100, 160)
    axis = torch.arange(256, dtype=torch.uint8)
    x = torch.cartesian_prod(axis, axis).view(-1, 1, 1, 2)
    # Windows of 0.05 lie at least seven widths inside [0, 1], and their sum over bytes is the integral to rounding.
    mass = parzen_log_likelihood(x, samples, [0.05])[0].exp().sum() / 255**2
    assert float(mass) == pytest.approx(1, abs=1e-9)


def test_close_images_do_not_cancel():
    """Two 64x64 images that differ by one level in one pixel, in a narrow window."""
    x = bytes_of(4, 1, (3, 64, 64))
    other = x.clone()
    other[0, 0, 0, 0] ^= 1
    sigma = 0.001
    d = x.numel()
    expected = -0.5 / (255 * sigma) ** 2 - d * math.log(sigma * math.sqrt(2 * math.pi))
    assert float(parzen_log_likelihood(x, other, [sigma])) == pytest.approx(expected, rel=1e-12)


def test_the_grid_is_numpys():
    np.testing.assert_allclose(SIGMAS, np.logspace(-1, 0, 10), rtol=1e-12)


@pytest.fixture
def context_of(tmp_path):
    def make(splits, made, **other):
        def load(split):
            images = splits[split]
            return ImageSet(images, torch.zeros(len(images), dtype=torch.int64), ())

        return SampleContext(lambda n: made[:n], load, device="cpu", seed=0, cache=tmp_path)

    return make


def blurred(seed, n, level):
    noise = np.random.default_rng(seed).normal(128, 255 * level, (n, 1, 2, 3))
    return torch.tensor(noise.clip(0, 255).astype(np.uint8))


def test_the_protocol(context_of):
    # The last 20 validation images lie far out: they must not choose the width.
    held_back = torch.cat([blurred(6, 80, 0.2), 255 * bytes_of(10, 20, high=2)])
    splits = {"train": blurred(5, 300, 0.05), "validation": held_back, "test": blurred(7, 60, 0.15)}
    made = blurred(8, 250, 0.05)
    found = measure_all([Parzen.Config(samples=250, validation=80).make()], context_of(splits, made), "AAE")

    def expected(samples):
        grid = np.logspace(-1, 0, 10)
        sigma = max(grid, key=lambda sigma: by_hand(chosen(splits["validation"], 80), samples, sigma).mean())
        return sigma, by_hand(splits["test"], samples, sigma)

    sigma, log_p = expected(made)
    assert 0.1 < sigma < 1  # inside of the grid, so that a choice was made
    assert found["parzen_sigma"] == pytest.approx(sigma)
    assert found["parzen"] == pytest.approx(log_p.mean(), rel=1e-9)
    assert found["parzen_standard_error"] == pytest.approx(log_p.std(ddof=1) / math.sqrt(60), rel=1e-9)
    assert set(found) == {"parzen", "parzen_standard_error", "parzen_sigma", "real_parzen", "real_parzen_images"}
    # Of 300 training images, 250 stand in for the generated ones: a subset, so no more than log(300 / 250) above the
    # value of all under one width, and near it.
    assert found["real_parzen"] == pytest.approx(expected(splits["train"])[1].mean(), abs=math.log(300 / 250))


def test_as_many_training_images_as_there_are(context_of):
    splits = {"train": blurred(5, 40, 0.1), "validation": blurred(6, 30, 0.1), "test": blurred(7, 30, 0.1)}
    score = Parzen.Config(samples=50).make()
    found = score.measure(context_of(splits, torch.cat([splits["train"], splits["train"][:10]])))
    again = score.measure(context_of({**splits, "train": splits["train"].flip(0)}, splits["train"].repeat(2, 1, 1, 1)))
    assert found["real_parzen"] == pytest.approx(again["real_parzen"], rel=1e-12)
    best = max(by_hand(splits["validation"], splits["train"], sigma).mean() for sigma in SIGMAS)
    sigma = next(s for s in SIGMAS if by_hand(splits["validation"], splits["train"], s).mean() == best)
    assert found["real_parzen"] == pytest.approx(by_hand(splits["test"], splits["train"], sigma).mean(), rel=1e-9)


def test_better_samples_score_higher(context_of):
    splits = {"train": blurred(5, 300, 0.1), "validation": blurred(6, 100, 0.1), "test": blurred(7, 100, 0.1)}
    good, wrong = blurred(8, 300, 0.1), blurred(9, 300, 0.1) // 3
    score = Parzen.Config(samples=300).make()
    assert score.measure(context_of(splits, good))["parzen"] > score.measure(context_of(splits, wrong))["parzen"] + 1


def test_without_validation_images_it_says_how_to_get_them(tmp_path):
    digits = Digits.Config(size=8).make()
    context = SampleContext(lambda n: bytes_of(0, n, (1, 8, 8)), digits.load, device="cpu", seed=0, cache=tmp_path)
    with pytest.raises(ScoreError) as caught:
        measure_all([Parzen.Config(samples=10).make()], context, "AAE")
    assert isinstance(caught.value.__cause__.__cause__, DataError)
    text = str(caught.value)
    assert text.startswith(
        "AAE: score 'parzen': it needs the split 'validation': data set 'digits' has no split 'validation'"
    )
    assert text.endswith(
        ". Hold images back from training by `validation` in [data], which data sets mnist, fashion_mnist and digits "
        "have"
    )


@pytest.mark.parametrize("field", ["samples", "validation"])
def test_no_window_is_refused(field):
    with pytest.raises(ValidationError, match=rf"(?s){field}.*greater than or equal to 1"):
        Parzen.Config(**{field: 0})


def test_column():
    (column,) = columns_of([Parzen.Config().make()]).values()
    assert column.key == "parzen" and column.higher_is_better
