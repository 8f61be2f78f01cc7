"""The line that says about how long a training is going to take on this machine."""

from __future__ import annotations

from genprior.errors import listed
from genprior.launch.pace import Estimate

__all__ = ["duration", "expected"]

_SHORT = {"bfloat16": "bf16", "float32": "fp32"}


def expected(estimate: Estimate) -> str:
    """The line: about how long, where, how many runs side by side, in which precision, and what is not included."""
    rows = f", {estimate.side_by_side} runs side by side" if estimate.side_by_side > 1 else ""
    precisions = "; ".join(_precision(name, speed) for name, speed in estimate.precisions)
    missing = f"; without row {listed(estimate.untimed)}, not timed" if estimate.untimed else ""
    return (
        f"training takes about {duration(estimate.seconds)} here, as timed on {estimate.device}{rows}{missing}; "
        f"scoring is not included. Precision: {precisions}"
    )


def _precision(name: str, speed: float | None) -> str:
    short = _SHORT.get(name, name)
    return short if speed is None else f"{short} (bf16 was measured {speed:.2f} times as fast as fp32)"


def duration(seconds: float) -> str:
    """A duration in one or two units, as rough as an estimate is: `40 s`, `6 min`, `3 h 20 min`, `5 days`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        hours, rest = divmod(10 * round(minutes / 10), 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{round(minutes / (24 * 60))} days"
