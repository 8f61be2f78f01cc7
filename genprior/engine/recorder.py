"""Means of the values that phases record, and the step whose losses and gradients were not finite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from genprior.engine.step import PhaseResult
from genprior.errors import NotFinite
from genprior.parts import Phase

__all__ = ["Recorder"]


class Recorder:
    """Accumulates means of recorded values and the step with a non-finite loss or gradient, on the device.

    The host synchronises with the device only in `means`, `check`, `tensors` and `facts`.
    """

    def __init__(self, *, latest: bool = False) -> None:
        """Start without values; of several steps that are not finite, keep the first, or the latest."""
        self._latest = latest
        self._keys: dict[str, tuple[str, ...]] = {}
        self._sums: dict[str, tuple[Tensor, int | Tensor]] = {}
        self._bad: dict[str, Tensor] = {}
        self._zeroed: dict[str, tuple[Tensor, Tensor]] = {}

    def add(self, phase: Phase, result: PhaseResult, step: int | Tensor) -> None:
        """Record the result of `phase` at `step`; values of a phase that was left out do not count."""
        self._keys[phase.name] = result.keys
        values, left_out = result.values, result.left_out
        self.added([phase.name])
        total, count = self._sums.get(phase.name) or (torch.zeros_like(values), 0)
        if isinstance(left_out, Tensor):
            # In place, so that the replay of a captured step adds on.
            counted = count if isinstance(count, Tensor) else torch.full_like(left_out, count, dtype=torch.int64)
            self._sums[phase.name] = (total.add_(torch.where(left_out, 0, values)), counted.add_(~left_out))
        elif left_out:
            self._sums[phase.name] = (total, count)
        else:
            self._sums[phase.name] = (total + values, count + 1)
        if left_out is False:
            return
        finite = torch.isfinite(values[: result.watched])
        bad = self._bad.get(phase.name)
        bad = torch.full_like(finite, -1, dtype=torch.int64) if bad is None else bad
        self._bad[phase.name] = bad.copy_(torch.where(~finite if self._latest else (bad < 0) & ~finite, step, bad))

    def added(self, phases: Iterable[str]) -> None:
        """Count the values that the replay of a captured step has added, in place, to the sums of these phases."""
        for name in phases:
            if name not in self._sums and name in self._zeroed:
                self._sums[name] = self._zeroed.pop(name)

    @property
    def pending(self) -> bool:
        """Whether there are values that no call of `means` has reset."""
        return bool(self._sums)

    def means(self, *, reset: bool = True) -> dict[str, float]:
        """The mean of each value since they were last reset, by name; resets the means if `reset`."""
        means = {
            key: value
            for name, (total, count) in self._sums.items()
            for key, value in zip(self._keys[name], (total / count).tolist(), strict=True)
        }
        if reset:
            for name, (total, count) in self._sums.items():
                if isinstance(count, Tensor):
                    self._zeroed[name] = total.zero_(), count.zero_()
            self._sums.clear()
        return means

    def check(self, row: str, explain: Callable[[int, str, str], str] = lambda step, phase, module: "") -> None:
        """Raise if any loss or gradient has not been finite since the last check.

        Args:
            row: the row's name.
            explain: returns sentences to add, from the step, the phase and the module.

        Raises:
            NotFinite: the message names the phase, the module, the step and the row.
        """
        failures = [
            (step, key)
            for name, bad in self._bad.items()
            for key, step in zip(self._keys[name], bad.tolist(), strict=False)
            if step >= 0
        ]
        self._bad.clear()
        if failures:
            first = max(failures)[0] if self._latest else min(failures)[0]
            key = next(key for step, key in failures if step == first)  # phases and losses in order, then gradients
            phase, module, quantity = key.split("/")
            raise NotFinite(
                f"row '{row}', step {first}, phase '{phase}': the {quantity} of '{module}' is not finite. "
                f"{explain(first, phase, module)}".rstrip()
            )

    # ----------------------------------------------------------------------------------------------------------------
    # Checkpoints
    # ----------------------------------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """The sums since the last record, by the names of the phases, for a checkpoint."""
        return {name: total for name, (total, _) in self._sums.items()}

    def facts(self) -> dict[str, Any]:
        """What a checkpoint holds beside the sums: for each phase how many values they are of, and their keys."""
        return {name: {"count": int(count), "keys": self._keys[name]} for name, (_, count) in self._sums.items()}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go on from what `tensors` and `facts` returned.

        Raises:
            KeyError: a sum or a fact is missing.
            TypeError: one has another form.
        """
        for name, fact in facts.items():
            keys, count, total = fact["keys"], fact["count"], tensors[name]
            fitting = isinstance(keys, list | tuple) and all(isinstance(key, str) for key in keys)
            if not fitting or type(count) is not int or count < 0:
                raise TypeError(f"the sums of phase '{name}' have no count and list of names")
            if total.shape != (len(keys),) or not total.is_floating_point():
                raise TypeError(f"the sums of phase '{name}' are {list(total.shape)}, for {len(keys)} names")
            self._keys[name], self._sums[name] = tuple(keys), (total, count)
