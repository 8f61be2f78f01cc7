"""Time limits that the user sets in the environment; imports no torch."""

from __future__ import annotations

import math
import os
import threading

from genprior.errors import RunError

__all__ = ["time_limit"]


def time_limit(variable: str, otherwise: float, *, least: float) -> float:
    """The seconds in an environment variable.

    Args:
        variable: its name.
        otherwise: the seconds if it is not set, or empty.
        least: the fewest that are possible.

    Raises:
        RunError: it is no number, too small, or more than a thread can wait.
    """
    text = os.environ.get(variable, "").strip()
    if not text:
        return otherwise
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not least <= seconds <= threading.TIMEOUT_MAX:  # nan is neither
        raise RunError(
            f"{variable} = {text} is no number of seconds of at least {least:g}; give one such as {otherwise:g}, or "
            "unset it"
        )
    return seconds
