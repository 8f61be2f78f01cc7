"""Differences between the rows of a column over seeds: which rows are better or worse than one of them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genprior.parts import Column
from genprior.tables.paired import EQUAL, ONE, Difference, difference, holm
from genprior.tables.rows import Row, arrow, places

__all__ = ["LEVEL", "SIGNS", "Compared", "compare", "explained_differences", "lines_of_differences", "shown_difference"]

LEVEL = 0.95
"""The level of confidence of all comparisons of a column together."""
SIGNS = {EQUAL: "≈", ONE: "(one seed)"}
"""What a cell shows in place of a long verdict."""


@dataclass(frozen=True)
class Compared:
    """The rows of a column compared with one of them."""

    reference: str
    """The label of the row that the others are compared with."""
    differences: Mapping[str, Difference]
    """Row minus reference, by the label of each other row; verdicts are by the adjusted p-values."""
    adjusted: Mapping[str, float]
    """The p-values by Holm's method over all rows, by label; a row of one seed has none."""

    @property
    def best(self) -> set[str]:
        """The reference, and all rows that are not worse than it."""
        return {self.reference, *(label for label, each in self.differences.items() if each.verdict != "worse")}

    @property
    def tested(self) -> bool:
        """Whether any difference has a standard error."""
        return bool(self.adjusted)

    def as_json(self) -> dict[str, Any]:
        """The differences as JSON."""
        return {
            "reference": self.reference,
            "rows": {
                label: {**dataclasses.asdict(each), "p_holm": self.adjusted.get(label)}
                for label, each in self.differences.items()
            },
        }


def compare(rows: Sequence[Row], column: Column, reference: str | None = None) -> Compared | None:
    """Compare the rows of a column with one of them, paired over the seeds that both have.

    A row is better or worse if the two-sided p-value of Student's t-test of its differences (see `difference`),
    adjusted by Holm's method for the number of rows, is below 5 %: then all verdicts of a column together err in 5 % of
    cases.
    One seed is never better nor worse.

    Args:
        rows: all rows; those without a number in the column are passed over.
        column: the column.
        reference: the label of the row to compare with; by default the one with the best mean, the first of equal ones.

    Returns:
        None if the column has no direction, fewer than two rows have a number, or the reference has none.
    """
    having = [row for row in rows if column.key in row.scores]
    if len(having) < 2 or column.higher_is_better is None:
        return None
    pick = max if column.higher_is_better else min
    best = pick(having, key=lambda row: row.scores[column.key].mean)
    chosen = best if reference is None else next((row for row in having if row.label == reference), None)
    if chosen is None:
        return None
    test = functools.partial(difference, higher_is_better=column.higher_is_better, level=LEVEL)
    found = {row.label: test(_values(row, column), _values(chosen, column)) for row in having if row is not chosen}
    p = {label: each.p for label, each in found.items() if each.p is not None}
    adjusted = dict(zip(p, holm(list(p.values())), strict=True))
    for label, value in adjusted.items():
        if value >= 1 - LEVEL:
            found[label] = dataclasses.replace(found[label], verdict=EQUAL)
    return Compared(chosen.label, found, adjusted)


def _values(row: Row, column: Column) -> Mapping[int, float] | Sequence[float]:
    """The values of a row by seed; without seeds, as of images, or if a seed occurs twice, the values alone."""
    values = row.scores[column.key].values
    by_seed = dict(zip(row.seeds, values, strict=False))
    return by_seed if len(by_seed) == len(values) else values


def shown_difference(each: Difference | None) -> str:
    """A difference and its standard error: `+0.310 ± 0.050`; a dash without one."""
    if each is None or each.mean is None:
        return "-"
    shown = places(max(abs(each.mean), each.error or 0.0))
    return f"{each.mean:+.{shown}f}" + ("" if each.error is None else f" ± {each.error:.{shown}f}")


def lines_of_differences(
    rows: Sequence[Row], columns: Sequence[Column], differences: Mapping[str, Compared]
) -> list[list[str]]:
    """The differences as text: `+0.31 ± 0.05 worse`, or `0` for the row that the others are compared with.

    Returns:
        The header, then a line for each row; empty if no difference has a standard error, as the means say as much.
    """
    shown = [column for column in columns if column.key in differences and differences[column.key].tested]
    if not shown:
        return []
    lines = [["difference of", *(column.title + arrow(column) for column in shown)]]
    for row in rows:
        cells = []
        for column in shown:
            compared = differences[column.key]
            each = compared.differences.get(row.label)
            if each is None:
                cells.append("0" if row.label == compared.reference else "-")
            else:
                unpaired = "" if each.paired or each.error is None else "unpaired"
                words = (shown_difference(each), unpaired, SIGNS.get(each.verdict, each.verdict))
                cells.append(" ".join(filter(None, words)))
        lines.append([row.label, *cells])
    return lines


def explained_differences(differences: Mapping[str, Compared], against: str | None) -> str:
    """The rule by which rows are better or worse, in words; empty if no row has several seeds."""
    single = "One seed, or one set of images, is never better nor worse."
    tested = [each for each in differences.values() if each.tested]
    if not tested:
        return single if differences else ""
    to = "the row with the best mean of the column" if against is None else f"'{against}'"
    text = (
        f"Difference: to {to} (0), mean over the seeds that both have ± standard error. Better, worse: p < 0.05 by "
        "the paired t-test, by Holm's method for all rows of the column together; ≈: cannot be told apart. Rankings of "
        "priors take each comparison alone."
    )
    every = [each for compared in tested for each in compared.differences.values()]
    if any(not each.paired and each.error is not None for each in every):
        text += " Unpaired: fewer than two seeds are shared, so the two means are compared, by Welch's t-test."
    if any(each.verdict == ONE for each in every):
        text += f" {single}"
    return text
