"""The curves of runs: their records by phase and number, thinned to what a screen shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Curve", "Phase", "phases_of"]

POINTS = 300
"""The most points of a line."""
_PLACES = ("step", "seconds")


class Curve(NamedTuple):
    """One recorded number of several runs."""

    name: str
    """Without its phase, such as `encoder/loss`."""
    main: bool
    """Whether it is shown at once: losses and measurements, in contrast to norms of gradients and notes."""
    lines: list[dict[str, Any]]
    """For each run that has it: `run` (its place), `x` (steps), `y` (values, None where not finite)."""

    def last(self, run: int) -> str:
        """The last value of a run; `-` where it has none."""
        values = next((line["y"] for line in self.lines if line["run"] == run), [None])
        return "-" if values[-1] is None else f"{values[-1]:.4g}"


class Phase(NamedTuple):
    """The curves of a phase, or of what a record holds beside phases."""

    name: str
    curves: list[Curve]


def phases_of(metrics: Sequence[Sequence[Mapping[str, Any]]]) -> list[Phase]:
    """The curves of runs, by phase: those with losses or measurements first, else as they are recorded.

    Args:
        metrics: the records of each run.
    """
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for place, records in enumerate(metrics):
        series: dict[str, tuple[list[int], list[float | None]]] = {}
        for record in records:
            for key, value in record.items():
                if key in _PLACES or isinstance(value, bool) or not isinstance(value, int | float):
                    continue
                x, y = series.setdefault(key, ([], []))
                x.append(int(record["step"]))
                y.append(_rounded(value) if math.isfinite(value) else None)
        for key, (x, y) in series.items():
            phase, _, name = key.rpartition("/") if key.count("/") < 2 else key.partition("/")
            found.setdefault((phase, name), []).append({"run": place, "x": _thinned(x), "y": _thinned(y)})
    phases: dict[str, list[Curve]] = {}
    for (phase, name), lines in found.items():
        main = name.endswith("loss") or phase == "validation"
        phases.setdefault(phase, []).append(Curve(name, main, lines))
    ordered = sorted(phases.items(), key=lambda item: not any(curve.main for curve in item[1]))
    return [Phase(name or "in every step", curves) for name, curves in ordered]


def _rounded(value: float) -> float:
    """Five significant digits, which is more than a screen shows."""
    return float(f"{value:.5g}")


def _thinned(values: list[Any]) -> list[Any]:
    """At most `POINTS` of the values, evenly, with the last one."""
    if len(values) <= POINTS:
        return values
    return [values[round(i * (len(values) - 1) / (POINTS - 1))] for i in range(POINTS)]
