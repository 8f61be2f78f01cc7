"""Rows and cells of a table, and a table as text, cell by cell."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import NamedTuple

from genprior.parts import Column
from genprior.tables.published import Beside

__all__ = ["Cell", "Layout", "Row", "arrow", "places"]


@dataclass(frozen=True)
class Cell:
    """A score over the seeds of a row."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return statistics.fmean(self.values)

    @property
    def std(self) -> float | None:
        """Sample standard deviation over seeds; None for one seed."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def __str__(self) -> str:
        """For example `7.43 ± 0.13`; a mean below 1 has three significant digits: `0.00152 ± 0.00031`."""
        shown = places(self.mean)
        return f"{self.mean:.{shown}f}" + (f" ± {self.std:.{shown}f}" if self.std is not None else "")


def places(value: float) -> int:
    """Decimal places to show: two, or as many as three significant digits need, at most six."""
    size = abs(value)
    return 2 if size >= 1 or size < 5e-7 else min(6, 2 - math.floor(math.log10(size)))


@dataclass(frozen=True)
class Row:
    """A row of the table: the scores of all seeds of one label."""

    label: str
    seeds: tuple[int, ...]
    scores: dict[str, Cell]
    seconds: Cell | None
    images_per_second: Cell | None
    empty: dict[str, str] = field(default_factory=dict)
    """The reason for each empty cell, by the column's key."""
    published: dict[str, tuple[Beside, ...]] = field(default_factory=dict)
    """Published numbers of the same method, or how they differ, by the column's key."""


class Layout(NamedTuple):
    """A table as text, cell by cell."""

    header: list[str]
    lines: list[list[str]]
    """A line for each row, and one for real held-out images; the best number of a column is between asterisks."""
    notes: list[str]
    """The notes that the marks [1], [2], ... in cells refer to, in order."""


def arrow(column: Column) -> str:
    """The direction of a column, after its title; empty where neither is better."""
    if column.higher_is_better is None:
        return ""
    return " ↑" if column.higher_is_better else " ↓"
