"""Reports of contract tests: the failures of one part, for an author who has not read genprior's code."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genprior.parts import Part

__all__ = ["Contract", "ContractError", "Failure", "describe", "dtype_name"]


class ContractError(AssertionError):
    """A part that breaks the contract of its kind; the message lists every failure that was found.

    `failures` holds the same list, one `Failure` each.
    """

    def __init__(self, message: str, failures: Sequence[Failure] = ()) -> None:
        """Hold the message and its entries.

        Args:
            message: the whole report.
            failures: its entries.
        """
        super().__init__(message)
        self.failures = tuple(failures)


@dataclass(frozen=True)
class Failure:
    """One broken promise."""

    called: str
    """What was called, with which shapes."""
    came: str
    """What came back."""
    says: str
    """What the contract says."""
    do: str
    """What the author can do."""

    def __str__(self) -> str:
        """Four lines, for the report."""
        return f"{self.called}\n     came back: {self.came}\n     contract:  {self.says}\n     what to do: {self.do}"


class Contract:
    """Collects the failures of one part, so that its author sees all at once."""

    def __init__(self, part: type[Part], setting: str) -> None:
        """Begin a report.

        Args:
            part: the class under test.
            setting: the sizes that it was made with, for the headline.
        """
        self._title = f"{part.kind} '{part.name}' ({part.__module__}.{part.__qualname__})"
        self._part = part
        self._setting = setting
        self.failures: list[Failure] = []

    def require(self, holds: bool, called: str, came: str, says: str, do: str) -> bool:
        """Record a failure unless `holds`; returns `holds`, so that later checks can depend on it."""
        if not holds:
            self.failures.append(Failure(called, came, says, do))
        return holds

    def call(
        self, called: str, function: Callable[[], Any], says: str = "the call returns", *, optional: bool = False
    ) -> Any:
        """The result of `function()`; None, and a failure, where it raises or (unless `optional`) returns None."""
        try:
            result = function()
            self.require(optional or result is not None, called, "None", says, "return a value on every path")
            return result
        except Exception as error:
            self.raised(called, error, says)
            return None

    def raised(self, called: str, error: Exception, says: str) -> None:
        """Record that a call raised an exception, with the line that raised it."""
        # An error of genprior that was raised from another names it, and the author looks for that one's line.
        frames = traceback.StackSummary.extract(
            (frame, line)
            for frame, line in traceback.walk_tb((error.__cause__ or error).__traceback__)
            if _package(str(frame.f_globals.get("__name__", ""))) == _package(self._part.__module__)
        )
        if frames:
            do = f"look at {frames[-1].filename}:{frames[-1].lineno}, in {frames[-1].name}: {frames[-1].line}"
        else:  # raised by genprior, of something that the part returned
            do = f"look at what the methods of {self._part.__qualname__} return{_defined(self._part)}"
        self.failures.append(Failure(called, f"{type(error).__name__}: {error}", says, do))

    def tensor(
        self, called: str, value: Any, shape: tuple[int, ...], dtype: torch.dtype, says: str, *, finite: bool = True
    ) -> bool:
        """Require a tensor of this shape and dtype whose numbers are finite; False for another shape."""
        if value is None:
            return False
        required = f"{list(shape)} {dtype_name(dtype)}"
        if not self.require(
            isinstance(value, Tensor) and tuple(value.shape) == shape,
            called,
            describe(value),
            f"{says}: {required}",
            _how_to_return(value, shape),
        ):
            return False
        self.require(
            value.dtype == dtype,
            called,
            describe(value),
            f"{says}, in the dtype of the inputs: {required}",
            "make new tensors with dtype=... and device=... of the inputs, for example "
            "torch.randn(n, d, device=asked.device, dtype=asked.dtype)",
        )
        if finite:
            bad = int((~torch.isfinite(value.detach())).sum())
            self.require(
                bad == 0,
                called,
                f"{describe(value)}, of which {bad} numbers are infinite or nan",
                f"{says}, finite",
                "look for a division by zero, the logarithm of zero, or an overflow",
            )
        return True

    def finish(self) -> None:
        """Raise the report if there are failures.

        Raises:
            ContractError: lists them.
        """
        if self.failures:
            count = len(self.failures)
            places = "1 place" if count == 1 else f"{count} places"
            entries = "\n\n".join(f"  {number}. {failure}" for number, failure in enumerate(self.failures, start=1))
            raise ContractError(
                f"{self._title} breaks its contract in {places}. It was made with {self._setting}.\n\n{entries}\n",
                self.failures,
            )


def _package(module: str) -> str:
    return module.partition(".")[0]


def _defined(part: type) -> str:
    """Where a class is defined; empty for one that was typed at a prompt."""
    try:
        return f", at {inspect.getsourcefile(part)}:{inspect.getsourcelines(part)[1]}"
    except (OSError, TypeError):
        return ""


def _how_to_return(value: Any, shape: tuple[int, ...]) -> str:
    """What an author does whose part returned `value` in place of a tensor of this shape."""
    if isinstance(value, np.ndarray):
        return (
            f"compute with torch, from the inputs on, and return a tensor of shape {list(shape)}: an array has no "
            "gradient, is on the CPU, and is drawn under another seed than the run's"
        )
    if isinstance(value, tuple | list):
        return (
            f"return a tensor of shape {list(shape)} alone, not a {type(value).__name__}; a comma after a value makes "
            "a tuple"
        )
    return f"return a tensor of shape {list(shape)}"


def describe(value: Any) -> str:
    """A value in a few words: shape, dtype and device of a tensor, else its type."""
    if isinstance(value, Tensor):
        return f"{list(value.shape)} {dtype_name(value.dtype)} on {value.device.type}"
    if isinstance(value, np.ndarray):
        return f"a numpy.ndarray {list(value.shape)} {value.dtype}"
    if type(value) in (tuple, list) and 0 < len(value) < 4:
        return f"a {type(value).__name__} of {', '.join(map(describe, value))}"
    return (
        f"{value!r}, a {type(value).__name__}" if isinstance(value, int | float | str) else f"a {type(value).__name__}"
    )


def dtype_name(dtype: torch.dtype) -> str:
    """For example `float32`."""
    return str(dtype).removeprefix("torch.")
