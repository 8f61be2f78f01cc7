"""Keeps updates that are not finite away from the weights, without waiting for the device in each step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from genprior.engine.copies import choose_into, copies_of, copy_into

__all__ = ["LIMIT", "Guard", "Skipped", "put_back"]

LIMIT = 10
"""How many steps in a row may be left out; one more stops the training."""


class Skipped(NamedTuple):
    """Steps in which a phase was left out: how many, how many in a row up to the last one, and the last one."""

    total: int = 0
    in_a_row: int = 0
    last: int = -2


class Guard:
    """Leaves out the updates of a phase whose losses or gradients are not finite.

    On a CPU the host knows the values. On another device it does not ask: the verdict stays on the device, where
    `torch.where` and the fused optimisers (the protocol of gradient scalers, `found_inf`) obey it. A guard that stops
    leaves out all updates from then on, until the host asks `stopped`.
    """

    def __init__(
        self, device: torch.device, *, skip: bool = False, kept: Iterable[Tensor] = (), deferred: bool | None = None
    ) -> None:
        """Start with a training in which nothing was left out.

        Args:
            device: the device of the model.
            skip: go on after a phase that was left out, at most `LIMIT` steps in a row; stop at the first one if not.
            kept: buffers that are put back with the running statistics.
            deferred: keep verdicts on the device; by default on all devices except CPUs.
        """
        self.skip = skip
        self.step: int | Tensor = 0
        self.kept = list(kept)
        self.deferred = device.type != "cpu" if deferred is None else deferred
        self._counts = torch.tensor(Skipped(), device=device)
        self._stopped = torch.zeros((), dtype=torch.bool, device=device)

    @property
    def stopped(self) -> bool:
        """Whether training must stop; waits for the device."""
        return bool(self._stopped)

    @property
    def skipped(self) -> Skipped:
        """The steps that were left out; waits for the device."""
        return Skipped(*self._counts.tolist())

    def restore(self, skipped: Iterable[int]) -> None:
        """Go on counting from what a checkpoint holds."""
        self._counts.copy_(torch.tensor(Skipped(*skipped)))

    def verdict(self, watched: Tensor | None) -> bool | Tensor:
        """Whether the updates of a phase at `step` are left out: a bool, or a tensor [] on the device if deferred.

        Args:
            watched: the losses and gradient norms of the phase, which are the same on all ranks; None if it only
                updates in closed form.
        """
        if watched is None:
            return self._stopped.clone() if self.deferred else False
        bad = ~torch.isfinite(watched).all()
        if not self.deferred and not bad:
            return False
        self._count(bad)
        return bad | self._stopped if self.deferred else True

    def _count(self, bad: Tensor) -> None:
        total, in_a_row, last = self._counts
        again = last == self.step  # another phase of this step was left out
        in_a_row = torch.where(again, in_a_row, torch.where(last == self.step - 1, in_a_row + 1, 1))
        counted = torch.stack([total + ~again, in_a_row, torch.zeros_like(last) + self.step])
        # In place, so that the replay of a captured step counts on.
        self._counts.copy_(torch.where(bad, counted, self._counts))
        self._stopped.logical_or_(bad & (in_a_row > LIMIT) if self.skip else bad)

    def take(self, optimiser: torch.optim.Optimizer, left_out: bool | Tensor) -> None:
        """Take a step of an optimiser, unless it is left out."""
        if isinstance(left_out, bool):
            if not left_out:
                optimiser.step()
        elif getattr(optimiser, "_step_supports_amp_scaling", False):  # PyTorch's own mark of fused optimisers
            _begin_momentum(optimiser)
            optimiser.found_inf = left_out.float()  # type: ignore[attr-defined]
            optimiser.grad_scale = None  # type: ignore[attr-defined]
            optimiser.step()
        else:
            with undone(left_out, lambda: _tensors_of(optimiser)):
                optimiser.step()

    def update(self, update: Callable[[], None], left_out: bool | Tensor, state: Mapping[str, Tensor]) -> None:
        """Set a module in closed form, unless it is left out; `state` holds the module's tensors."""
        if isinstance(left_out, bool):
            if not left_out:
                update()
        else:
            with undone(left_out, lambda: list(state.values())):
                update()


def put_back(left_out: bool | Tensor, tensors: Sequence[Tensor], before: Sequence[Tensor]) -> None:
    """Give tensors the values of before, in place, if the phase is left out."""
    if left_out is True:
        copy_into(tensors, before)
    elif left_out is not False:
        choose_into(tensors, left_out, before)


@contextmanager
def undone(left_out: Tensor, tensors: Callable[[], list[Tensor]]) -> Iterator[None]:
    """Put tensors back after the block if it is left out; those that the block makes become 0."""
    first = tensors()
    before = {id(tensor): copy for tensor, copy in zip(first, copies_of(first), strict=True)}
    yield
    after = tensors()
    with torch.no_grad():
        put_back(left_out, after, [before.get(id(tensor), torch.zeros_like(tensor)) for tensor in after])


def _tensors_of(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    """The parameters and moments of an optimiser; counters on the host, which RMSprop does not use, are not among them.

    All lie on the device of the parameters.
    """
    parameters: list[Tensor] = [p for group in optimiser.param_groups for p in group["params"]]
    device = parameters[0].device
    moments = [each for state in optimiser.state.values() for each in state.values() if isinstance(each, Tensor)]
    return parameters + [each for each in moments if each.device == device]


def _begin_momentum(optimiser: torch.optim.Optimizer) -> None:
    """Begin the momentum of SGD with 0, which equals its own first step.

    PyTorch leaves the memory of the buffers uninitialised if the first step is left out.
    """
    for group in optimiser.param_groups:
        if isinstance(optimiser, torch.optim.SGD) and group["momentum"]:
            for parameter in group["params"]:
                state = optimiser.state[parameter]
                if parameter.grad is not None and state.get("momentum_buffer") is None:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
