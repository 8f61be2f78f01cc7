"""Paired comparison of two rows over their common seeds, by Student's t."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["EQUAL", "Difference", "holm", "paired_difference"]

EQUAL = "cannot be told apart"
"""The verdict where the confidence interval contains 0."""


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
            seeds, values, values[0] if values else None, None, None, None, "one seed" if values else "no common seed"
        )
    from scipy import stats

    mean, error, degrees = statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values)), len(values) - 1
    half = float(stats.t.ppf((1 + level) / 2, degrees)) * error
    if error > 0:
        p = float(2 * stats.t.sf(abs(mean) / error, degrees))
    else:  # the same difference under each seed
        p = 1.0 if mean == 0 else 0.0
    if abs(mean) <= half or mean == 0:
        verdict = EQUAL
    else:
        verdict = "better" if (mean > 0) == higher_is_better else "worse"
    return Difference(seeds, values, mean, error, (mean - half, mean + half), p, verdict)


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
