"""Paired differences: against scipy's paired t-test, and properties over random values."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from genprior.tables.paired import EQUAL, holm, paired_difference

NUMBERS = st.floats(-1e3, 1e3).map(lambda value: round(value, 3))
PAIRS = st.dictionaries(st.integers(0, 50), st.tuples(NUMBERS, NUMBERS), max_size=8)


@given(PAIRS, st.booleans())
def test_it_is_scipys_paired_t_test(pairs, higher):
    one = {seed: pair[0] for seed, pair in pairs.items()}
    other = {seed: pair[1] for seed, pair in pairs.items()}
    found = paired_difference(one, other, higher_is_better=higher)
    assert found.seeds == tuple(sorted(pairs))
    if len(pairs) < 2:
        assert found.verdict == ("one seed" if pairs else "no common seed")
        assert found.p is found.error is found.interval is None
        return
    order = sorted(pairs)
    assume(len({round(each, 6) for each in found.values}) > 1)  # else scipy divides by rounding errors
    expected = stats.ttest_rel([one[seed] for seed in order], [other[seed] for seed in order])
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert found.interval == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)
    if abs(expected.pvalue - 0.05) > 1e-6:
        assert (found.verdict == EQUAL) == (expected.pvalue > 0.05)
    if found.verdict != EQUAL:
        assert found.verdict == ("better" if (found.mean > 0) == higher else "worse")


@given(PAIRS, st.booleans())
def test_swapping_rows_or_the_direction_swaps_the_verdict(pairs, higher):
    one = {seed: pair[0] for seed, pair in pairs.items()}
    other = {seed: pair[1] for seed, pair in pairs.items()}
    swapped = {"better": "worse", "worse": "better"}
    found = paired_difference(one, other, higher_is_better=higher)
    for again in (
        paired_difference(other, one, higher_is_better=higher),
        paired_difference(one, other, higher_is_better=not higher),
    ):
        assert again.verdict == swapped.get(found.verdict, found.verdict)
        assert again.p == found.p


def test_only_common_seeds_count():
    found = paired_difference({0: 1.0, 1: 2.0, 7: 99.0}, {1: 1.0, 0: 0.5, 3: -99.0}, higher_is_better=False)
    assert found.seeds == (0, 1)
    assert found.values == (0.5, 1.0)
    assert found.mean == 0.75
    assert found.error == pytest.approx(math.sqrt(0.125) / math.sqrt(2))
    assert found.verdict == EQUAL  # t of 3 with one degree of freedom


def test_one_seed_is_never_better_or_worse():
    found = paired_difference({3: 1e9}, {3: 0.0, 4: 1.0}, higher_is_better=True)
    assert (found.verdict, found.mean, found.error) == ("one seed", 1e9, None)


def test_the_same_difference_under_each_seed():
    assert paired_difference({0: 1.0, 1: 2.0}, {0: 0.0, 1: 1.0}, higher_is_better=True).verdict == "better"
    assert paired_difference({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0}, higher_is_better=True).verdict == EQUAL


def test_equal_rows_are_told_apart_in_5_of_100_cases():
    # 4,000 pairs of the same normal distribution under 5 seeds; the share's standard error is 0.0034.
    draws = stats.norm.rvs(size=(4000, 2, 5), random_state=0)
    verdicts = [
        paired_difference(dict(enumerate(one)), dict(enumerate(other)), higher_is_better=True).verdict
        for one, other in draws
    ]
    assert sum(verdict != EQUAL for verdict in verdicts) / 4000 == pytest.approx(0.05, abs=4 * 0.0034)


def test_holm_of_a_textbook_example():
    # m = 4: 4 * 0.005, 3 * 0.01, 2 * 0.03, 1 * 0.04 -> not below those before it
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_lies_between_the_values_and_bonferroni(values):
    adjusted = holm(values)
    for p, q in zip(values, adjusted, strict=True):
        assert p <= q <= 1
        assert q <= len(values) * p
    assert sorted(range(len(values)), key=lambda n: (values[n], n)) == sorted(
        range(len(values)), key=lambda n: (adjusted[n], values[n], n)
    )
