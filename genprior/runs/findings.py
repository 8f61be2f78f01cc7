"""What `genprior doctor` finds: one thing each, whether it is well, and what to do."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from genprior.errors import in_a_sentence

__all__ = ["Check", "Finding", "State", "findings_of", "readable_size"]


class State(enum.StrEnum):
    """Whether a finding is well."""

    OK = "ok"
    NOTE = "note"
    """Nothing is wrong, but something may be missed, such as an extra that is not installed."""
    WRONG = "wrong"


class Finding(NamedTuple):
    """One finding."""

    section: str
    """The section, such as `versions`."""
    name: str
    """What it is about, such as `torch`."""
    text: str
    """What was found."""
    state: State = State.OK
    advice: str = ""
    """What to do about it; empty if it is well."""

    def as_json(self) -> dict[str, Any]:
        """The finding for programs."""
        return {**self._asdict(), "state": self.state.value}


REINSTALL = "install again: pip install --force-reinstall genprior"
"""The advice about a check that raises an exception."""
Check = Callable[[], Iterable[Finding]]


def findings_of(checks: Mapping[str, Check]) -> list[Finding]:
    """The findings of all checks by section; a check that raises an exception is a finding itself."""
    found: list[Finding] = []
    for section, check in checks.items():
        try:
            found.extend(check())
        except Exception as error:  # a broken installation may raise anything
            text = f"this could not be examined: {type(error).__name__}: {in_a_sentence(error)}"
            # An error of the system is about a folder or a file, which it names.
            of_system = isinstance(error, OSError) and error.errno is not None
            advice = "use another folder, or make that one readable" if of_system else REINSTALL
            found.append(Finding(section, section, text, State.WRONG, advice))
    return found


def readable_size(size: int) -> str:
    """A number of bytes in the unit that fits, such as `1.2 GB`."""
    number, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 1000:
            break
        number, unit = number / 1000, larger
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
