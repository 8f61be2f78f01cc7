"""The command line in processes that torchrun started: the first one prints, and the others are silent."""

from __future__ import annotations

import os
import sys

from genprior.runs.torchrun import torchrun

__all__ = ["SHARED", "beside_the_first", "silence_others", "speak_again"]

SHARED = ("train", "priors")
"""The commands that train, which processes share; any other is run by the first process alone."""


def beside_the_first() -> bool:
    """Whether this process shares the training of another one, which prints."""
    place = torchrun()
    return place is not None and place.rank > 0


def silence_others() -> None:
    """Print nothing in a process beside the first one, and end it at once for a command that is not shared."""
    if beside_the_first():
        command = next((each for each in sys.argv[1:] if not each.startswith("-")), "")
        if command not in SHARED:
            sys.exit(0)
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the process ends


def speak_again() -> None:
    """Print to stderr again, for an error that the first process cannot tell, because it is gone."""
    if beside_the_first() and sys.__stderr__ is not None:
        sys.stderr = sys.__stderr__
