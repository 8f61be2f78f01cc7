"""Comparison of two rows by Student's t: paired over their common seeds, or unpaired where they share none."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["EQUAL", "ONE", "Difference", "difference", "holm", "paired_difference"]

EQUAL = "cannot be told apart"
"""The verdict where the confidence interval contains 0."""
ONE = "one seed"
"""The verdict where one seed says nothing of how much others would differ."""


@dataclass(frozen=True)
class Difference:
    """The differences of a row to a reference under the same seeds, and what they allow to say."""

    seeds: tuple[int, ...]
    """The seeds that both have, in order."""
    values: tuple[float, ...]
    """Row minus reference, one for each seed."""
    mean: float | None
    """Mean difference; None without a common seed."""
    error: float | None
    """Standard error of the mean: s / sqrt(n) with the sample standard deviation s; None below two common seeds."""
    interval: tuple[float, float] | None
    """Confidence interval of the mean difference; None below two common seeds."""
    p: float | None
    """Two-sided p-value of the paired t-test; None below two common seeds."""
    verdict: str
    """`better`, `worse`, `cannot be told apart`, `one seed` or `no common seed`."""
    paired: bool = True
    """Whether it is over common seeds; False for the difference of two means over other seeds."""


def paired_difference(
    row: Mapping[int, float], reference: Mapping[int, float], *, higher_is_better: bool, level: float = 0.95
) -> Difference:
    """Compare a row with a reference under the seeds that both have.

    With d_i the differences under n seeds, the interval is mean(d) ± t s / sqrt(n), where s is the sample standard
    deviation of d and t the quantile (1 + level) / 2 of Student's t with n - 1 degrees of freedom.

    Args:
        row: its values by seed.
        reference: those of the row that it is compared with.
        higher_is_better: the direction of the values.
        level: of confidence.

    Returns:
        The difference; `better` or `worse` only if the interval excludes 0.

    References:
        Student, The probable error of a mean, Biometrika 6 (1908).
    """
    seeds = tuple(sorted(row.keys() & reference.keys()))
    values = tuple(row[seed] - reference[seed] for seed in seeds)
    if len(values) < 2:
        return Difference(
            seeds, values, values[0] if values else None, None, None, None, ONE if values else "no common seed"
        )
    mean, error = statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))
    return _tested(seeds, values, mean, error, len(values) - 1, higher_is_better, level)


def difference(
    row: Mapping[int, float] | Sequence[float],
    reference: Mapping[int, float] | Sequence[float],
    *,
    higher_is_better: bool,
    level: float = 0.95,
) -> Difference:
    """Compare a row with a reference: paired over common seeds, or the two means where fewer than two are common.

    The unpaired test is Welch's: with means m, standard deviations s and n seeds each, the difference m_1 - m_2 has the
    standard error (s_1^2 / n_1 + s_2^2 / n_2)^(1/2), and the degrees of freedom of Welch and Satterthwaite.

    Args:
        row: its values by seed, or its values alone if they have no seeds.
        reference: those of the row that it is compared with.
        higher_is_better: the direction of the values.
        level: of confidence.

    Returns:
        The difference; where one of the two has one value, the verdict is `one seed`.

    References:
        B. L. Welch, The generalization of 'Student's' problem when several different population variances are involved,
        Biometrika 34 (1947).
    """
    values, others = (tuple(each.values()) if isinstance(each, Mapping) else tuple(each) for each in (row, reference))
    if isinstance(row, Mapping) and isinstance(reference, Mapping):
        common = len(row.keys() & reference.keys())
        if common > 1 or (common and min(len(row), len(reference)) < 2):
            return paired_difference(row, reference, higher_is_better=higher_is_better, level=level)
    mean = statistics.fmean(values) - statistics.fmean(others)
    if min(len(values), len(others)) < 2:
        return Difference((), (), mean, None, None, None, ONE, paired=False)
    parts = [(statistics.variance(each) / len(each), len(each) - 1) for each in (values, others)]
    squared = sum(part for part, _ in parts)
    degrees = squared**2 / sum(part**2 / n for part, n in parts) if squared > 0 else 1.0
    return _tested((), (), mean, math.sqrt(squared), degrees, higher_is_better, level, paired=False)


def _tested(
    seeds: tuple[int, ...],
    values: tuple[float, ...],
    mean: float,
    error: float,
    degrees: float,
    higher_is_better: bool,
    level: float,
    *,
    paired: bool = True,
) -> Difference:
    from scipy import special

    half = float(special.stdtrit(degrees, (1 + level) / 2)) * error
    if error > 0:
        p = float(2 * special.stdtr(degrees, -abs(mean) / error))
    else:  # the same difference under each seed
        p = 1.0 if mean == 0 else 0.0
    if abs(mean) <= half or mean == 0:
        verdict = EQUAL
    else:
        verdict = "better" if (mean > 0) == higher_is_better else "worse"
    return Difference(seeds, values, mean, error, (mean - half, mean + half), p, verdict, paired)


def holm(values: Sequence[float]) -> list[float]:
    """P-values of several comparisons, adjusted so that all of them together keep the level.

    The k-th smallest of m becomes max over j <= k of min(1, (m - j + 1) p_(j)).

    Args:
        values: the p-values of the single comparisons.

    References:
        S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979).
    """
    order = sorted(range(len(values)), key=lambda place: values[place])
    adjusted, largest = [0.0] * len(values), 0.0
    for smaller, place in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - smaller) * values[place]))
        adjusted[place] = largest
    return adjusted
