"""Means of the values that phases record, and a check that losses and gradients are finite."""

from __future__ import annotations

import torch
import torch.distributed
from torch import Tensor

from genprior.engine.step import PhaseResult
from genprior.errors import NotFinite
from genprior.parts import Phase

__all__ = ["Recorder"]


class Recorder:
    """Accumulates means of recorded values and the first step with a non-finite loss or gradient, on the device.

    The host synchronises with the device only in `means` and `check`.
    """

    def __init__(self) -> None:
        """Start without values."""
        self._keys: dict[str, tuple[str, ...]] = {}
        self._sums: dict[str, tuple[Tensor, int]] = {}
        self._first_bad: dict[str, Tensor] = {}

    def add(self, phase: Phase, result: PhaseResult, step: int) -> None:
        """Record the result of `phase` at `step`."""
        self._keys[phase.name] = result.keys
        total, count = self._sums.get(phase.name, (torch.zeros_like(result.values), 0))
        self._sums[phase.name] = (total + result.values, count + 1)
        finite = torch.isfinite(result.values[: result.watched])
        first = self._first_bad.get(phase.name)
        first = torch.full_like(finite, -1, dtype=torch.int64) if first is None else first
        self._first_bad[phase.name] = torch.where((first < 0) & ~finite, step, first)

    def means(self) -> dict[str, float]:
        """The mean of each value since the last call, by name; resets the means."""
        means = {
            key: value
            for name, (total, count) in self._sums.items()
            for key, value in zip(self._keys[name], (total / count).tolist(), strict=True)
        }
        self._sums.clear()
        return means

    def check(self, row: str) -> None:
        """Raise if any loss or gradient has not been finite since the last check.

        Raises:
            NotFinite: the message names the phase, the module, the step and the row.
        """
        failures = [
            (step, key)
            for name, first in self._first_bad.items()
            for key, step in zip(self._keys[name], first.tolist(), strict=False)
            if step >= 0
        ]
        self._first_bad.clear()
        if failures:
            step, key = min(failures)
            phase, module, quantity = key.split("/")
            raise NotFinite(
                f"row '{row}', step {step}, phase '{phase}': the {quantity} of '{module}' is not finite. "
                "The last good checkpoint is kept. Lower the learning rate of this module "
                f"(optimiser.{module}.lr) or, under bf16, try --set 'run.precision=\"fp32\"'."
            )
