"""Phases of a training step, and the objectives that a phase returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor

__all__ = ["Objectives", "Phase"]


class Objectives(Mapping[str, Tensor]):
    """The result of a phase: for each module, by name, the scalar that this module descends.

    Modules that share one loss tensor share one backward pass. `note` holds scalars that are only recorded. A module
    with a closed-form optimum descends nothing: `updates` holds, by its name, the function that sets it. Updates run
    last, without gradients, in the order of the mapping.
    """

    def __init__(
        self,
        losses: Mapping[str, Tensor],
        note: Mapping[str, Tensor] | None = None,
        updates: Mapping[str, Callable[[], None]] | None = None,
    ) -> None:
        """Hold the losses by module name, scalars to record, and closed-form updates by module name."""
        self.losses = dict(losses)
        self.note = dict(note or {})
        self.updates = dict(updates or {})

    @property
    def moved(self) -> tuple[str, ...]:
        """The names of all modules that the phase trains, by a loss or in closed form."""
        return tuple(dict.fromkeys((*self.losses, *self.updates)))

    def __getitem__(self, module: str) -> Tensor:
        """The loss of `module`."""
        return self.losses[module]

    def __iter__(self) -> Iterator[str]:
        """The names of the modules that descend a loss."""
        return iter(self.losses)

    def __len__(self) -> int:
        """How many modules descend a loss."""
        return len(self.losses)


class Phase(NamedTuple):
    """A phase of a training step: which modules descend which losses, and in which steps."""

    name: str
    """Its name, under which its losses are recorded."""
    objectives: Callable[[Any], Objectives]
    """The method that computes the losses from a `Batch` of images; of a fitted prior, from a batch of `Codes`."""
    every: int = 1
    """Run in each `every`-th step."""
