"""Every error that genprior raises on purpose.

Each message says what was asked, what is wrong, what is possible and what to do. The command line prints the message
alone and exits with `exit_code`: 2 for a mistake of the user's, 1 for a run that failed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = [
    "CheckpointError",
    "DataError",
    "GenpriorError",
    "Interrupted",
    "NameTaken",
    "NotFinite",
    "PlanError",
    "PluginError",
    "RecipeError",
    "RunError",
    "ScoreError",
    "did_you_mean",
    "wrong_settings",
]


class GenpriorError(Exception):
    """Base of all errors that are meant for a person."""

    exit_code = 2


class PlanError(GenpriorError):
    """Parts that are each valid do not fit together."""


class NameTaken(GenpriorError):
    """Two plugins registered a part of the same kind under one name."""


class PluginError(GenpriorError):
    """A part was asked for whose plugin could not be loaded, or a plugin registered something that is no part."""


class RecipeError(GenpriorError):
    """A recipe that cannot be read or does not validate; the message lists every mistake of every row."""


class DataError(GenpriorError):
    """A data set that is missing, empty, corrupt, or of the wrong range or shape."""


class ScoreError(GenpriorError):
    """A score that cannot be computed from what is there."""


class CheckpointError(GenpriorError):
    """A checkpoint that is truncated, altered or of another run."""


class RunError(GenpriorError):
    """A run folder that cannot be used: held by another process, or made by another recipe."""


class NotFinite(GenpriorError):
    """A loss or a gradient became infinite or not a number while training."""

    exit_code = 1


class Interrupted(GenpriorError):
    """Training was asked to stop; the run can be resumed."""

    exit_code = 130


def did_you_mean(asked: str, possible: Iterable[str]) -> str:
    """The end of an error message: the nearest right name, if one is near, and all that is possible.

    Args:
        asked: what the user wrote.
        possible: the names that would have been right.

    Returns:
        For example `; did you mean 'gaussian'? Possible: gaussian, uniform`.
    """
    names = sorted(possible)
    near = difflib.get_close_matches(asked, names, n=1, cutoff=0.5)
    question = f"; did you mean '{near[0]}'?" if near else "."
    return f"{question} Possible: {', '.join(names) or 'none'}"


def wrong_settings(error: ValidationError) -> str:
    """What is wrong with a table of settings, in a line: each key with what pydantic says of it."""
    return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'it'}: {each['msg']}" for each in error.errors())
