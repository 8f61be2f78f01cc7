"""The engine: one phase of one step.

A phase states which module descends which loss. `run_phase` takes each loss's gradient for the named modules only, all
at the same parameters, and then steps those modules. So no model toggles `requires_grad`, detaches for correctness or
retains a graph.

Batch statistics: a module that the phase does not name uses the statistics of the batch like every other, but its
running averages are restored afterwards, and so are the power iteration vectors of a spectral normalisation. A module
that the phase does not train keeps its buffers too.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from genprior.engine.buckets import Buckets
from genprior.engine.clip import Clipping
from genprior.engine.copies import copies_of, copy_into
from genprior.engine.divergence import Guard, put_back
from genprior.engine.known_modules import known
from genprior.errors import PlanError
from genprior.parts import Batch, Codes, Critic, Objectives, Phase

__all__ = ["PhaseResult", "Remembered", "gradients_of", "remember", "run_phase"]


class Remembered:
    """A critic that scores each tensor once: losses of the same logits share one forward pass.

    Logits are in single precision or wider, so that losses are exact under bf16 autocast.
    """

    def __init__(self, critic: Critic) -> None:
        """Wrap `critic` for one phase."""
        self._critic = critic
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def __call__(self, x: Tensor, known: Tensor) -> Tensor:
        """The critic's logits [n] of x with known, computed at the first call with these tensor objects."""
        for seen_x, seen_known, seen in self._seen:
            if seen_x is x and seen_known is known:
                return seen
        logits: Tensor = self._critic(x, known)
        logits = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
        self._seen.append((x, known, logits))
        return logits


def remember(critic: Critic) -> Remembered:
    """A critic for one phase that scores each tensor once."""
    return Remembered(critic)


class PhaseResult(NamedTuple):
    """Values of a phase to record: `values` [len(keys)], on the device; the first `watched` of them must be finite.

    `left_out` says whether they were not, so that nothing was updated: a bool, or a tensor [] on the device; None if
    nobody looked.
    """

    keys: tuple[str, ...]
    values: Tensor
    watched: int
    left_out: bool | Tensor | None = None


def run_phase(
    phase: Phase,
    batch: Batch | Codes,
    modules: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
    share: float | None = None,
    autocast: contextlib.AbstractContextManager[object] | None = None,
    guard: Guard | None = None,
    clip: Clipping | None = None,
) -> PhaseResult:
    """Run one phase: each named module takes one step down its loss, or its closed-form update; nothing else changes.

    Args:
        phase: which module descends which loss.
        batch: the images of this step, or the codes of a fit.
        modules: all modules of the model, by name; for many steps as `KnownModules`.
        optimisers: that of each module that has parameters, by its name; `<phase>/<module>` is that of a module in one
            phase, where it has its own there. Modules may have one together, which leaves those without a gradient.
        share: this rank's share of the images of a batch that several processes share; gradients, losses and notes are
            averaged over them. None for a single process.
        autocast: a context for the forward passes.
        guard: leaves out the updates of the phase if its losses or gradients are not finite; without one they are made.
        clip: the limits of each module's gradients; norms are recorded before it.

    Returns:
        The losses, gradient norms and notes of the phase.

    Raises:
        PlanError: the phase names a module that does not exist, has no parameters, or its loss does not depend on it.
    """
    modules = known(modules)
    statistics = {name: modules.statistics_of(name) for name in modules}
    before = _copies(statistics)
    kept_before = copies_of(guard.kept) if guard is not None else []
    with autocast or contextlib.nullcontext():
        objectives = phase.objectives(batch)
    buckets = None if share is None else Buckets(share)
    gradients = gradients_of(phase, objectives, modules, buckets)
    frozen = statistics.keys() - set(objectives.moved)
    copy_into(
        [each for name in frozen for each in statistics[name]], [each for name in frozen for each in before[name]]
    )
    losses, notes = _numbers(objectives.values()), _numbers(objectives.note.values())
    if buckets is not None:
        # With the losses, so that every rank records those of the whole batch, and all decide alike what is not finite.
        gradients, numbers = buckets.averages(gradients, [*losses, *notes])
        losses, notes = numbers[: len(losses)], numbers[len(losses) :]
    norms = _norms(gradients)
    keys = [f"{phase.name}/{name}/loss" for name in objectives] + [f"{phase.name}/{name}/gradient" for name in norms]
    watched = torch.stack([*losses, *_numbers(norms.values())]) if keys else None
    left_out = guard.verdict(watched) if guard is not None else False
    if guard is not None and left_out is not False:
        with torch.no_grad():
            put_back(left_out, guard.kept, kept_before)
            for name in statistics.keys() & set(objectives.moved):
                put_back(left_out, statistics[name], before[name])
    for optimiser, names in _steps(phase, gradients, optimisers):
        for name in names:
            pairs = gradients[name]
            gradients_now = [gradient for _, gradient in pairs]
            clipped = clip(gradients_now, norms[name]) if clip is not None else gradients_now
            for (parameter, _), gradient in zip(pairs, clipped, strict=True):
                parameter.grad = _in_order_of(parameter, gradient)
        if guard is not None:
            guard.take(optimiser, left_out)
        else:
            optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    _update_in_closed_form(phase, objectives, modules, share is not None, guard, left_out)
    result = _result(phase, objectives, keys, watched, notes)
    return result if guard is None else result._replace(left_out=left_out)


def _copies(tensors: Mapping[str, Sequence[Tensor]]) -> dict[str, list[Tensor]]:
    """Copies of several lists of tensors, made together."""
    copies = iter(copies_of([each for name in tensors for each in tensors[name]]))
    return {name: list(itertools.islice(copies, len(each))) for name, each in tensors.items()}


def _norms(gradients: Mapping[str, Sequence[tuple[nn.Parameter, Tensor]]]) -> dict[str, Tensor]:
    """The norm of all gradients of each module; those of all tensors of the phase are computed together."""
    flat = [gradient for pairs in gradients.values() for _, gradient in pairs]
    each = iter(torch._foreach_norm(flat) if flat else ())
    return {
        name: torch.linalg.vector_norm(torch.stack(list(itertools.islice(each, len(pairs)))))
        for name, pairs in gradients.items()
    }


def _steps(
    phase: Phase, names: Iterable[str], optimisers: Mapping[str, torch.optim.Optimizer]
) -> Iterable[tuple[torch.optim.Optimizer, list[str]]]:
    """The optimisers that step in a phase, each with the modules that it moves there."""
    steps: dict[int, tuple[torch.optim.Optimizer, list[str]]] = {}
    for name in names:
        own = f"{phase.name}/{name}"
        optimiser = optimisers[own if own in optimisers else name]
        steps.setdefault(id(optimiser), (optimiser, []))[1].append(name)
    return steps.values()


@torch.no_grad()
def _update_in_closed_form(
    phase: Phase,
    objectives: Objectives,
    modules: Mapping[str, nn.Module],
    several_ranks: bool,
    guard: Guard | None,
    left_out: bool | Tensor,
) -> None:
    for name, update in objectives.updates.items():
        if name not in modules:
            raise PlanError(
                f"phase '{phase.name}' updates '{name}', which is not a module of the model. "
                f"Its modules: {', '.join(modules)}"
            )
        if several_ranks:
            raise PlanError(
                f"phase '{phase.name}' sets '{name}' in closed form from the images of one process, but here several "
                "processes share a batch, and each would set it differently. Train this model in one process"
            )
        if guard is not None:
            guard.update(update, left_out, modules[name].state_dict())
        else:
            update()


def _in_order_of(parameter: nn.Parameter, gradient: Tensor) -> Tensor:
    """The gradient with its numbers in the parameter's order of memory, a copy only where it has another one.

    A fused step goes through parameter and gradient in the order of memory, and takes another element's gradient where
    the orders differ: a second derivative of a convolution is contiguous though the weight is channels last.
    """
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter, dtype=gradient.dtype).copy_(gradient)


def gradients_of(
    phase: Phase, objectives: Objectives, modules: Mapping[str, nn.Module], buckets: Buckets | None = None
) -> dict[str, list[tuple[nn.Parameter, Tensor]]]:
    """The gradients of each named module, by its name; modules with the same loss tensor share one backward pass.

    Args:
        phase: the phase, for messages.
        objectives: its losses.
        modules: all modules of the model, by name.
        buckets: take the gradients as they are computed, and send them to the other ranks.

    Raises:
        PlanError: the phase names a module that does not exist, has no parameters, or its loss does not depend on it.
    """
    modules = known(modules)
    groups: dict[int, list[str]] = {}
    for name, loss in objectives.items():
        if name not in modules:
            raise PlanError(
                f"phase '{phase.name}' moves '{name}', which is not a module of the model. "
                f"Its modules: {', '.join(modules)}"
            )
        groups.setdefault(id(loss), []).append(name)
    by_module: dict[str, list[tuple[nn.Parameter, Tensor]]] = {}
    passes = [{name: modules.parameters_of(name) for name in names} for names in groups.values()]
    if buckets is not None:
        buckets.expect(passes)
    for remaining, parameters in zip(range(len(passes) - 1, -1, -1), passes, strict=True):
        names = list(parameters)
        loss = objectives[names[0]]
        flat = [p for name in names for p in parameters[name]]
        reached = loss.requires_grad and bool(flat)
        # Losses of one phase share parts of their graph, which the last backward pass frees.
        with contextlib.nullcontext() if buckets is None else buckets.listening(parameters):
            all_gradients: Iterable[Tensor | None] = (
                torch.autograd.grad(loss, flat, retain_graph=remaining > 0, allow_unused=True) if reached else ()
            )
        gradients = iter(all_gradients)
        for name in names:
            pairs = [(p, g) for p, g in zip(parameters[name], gradients, strict=False) if g is not None]
            if not pairs:
                why = "it has no parameters" if not parameters[name] else "its loss does not depend on its parameters"
                raise PlanError(
                    f"phase '{phase.name}' moves '{name}', but {why}. "
                    f"Leave '{name}' out of the phase, or let its loss use it."
                )
            by_module[name] = pairs
    return by_module


def _numbers(values: Iterable[Tensor]) -> list[Tensor]:
    return [value.detach().float() for value in values]


def _result(
    phase: Phase, objectives: Objectives, watched_keys: list[str], watched: Tensor | None, notes: list[Tensor]
) -> PhaseResult:
    keys = (*watched_keys, *(f"{phase.name}/{name}" for name in objectives.note))
    values = ([] if watched is None else [watched]) + ([torch.stack(notes)] if notes else [])
    return PhaseResult(keys, torch.cat(values) if values else torch.zeros(0), len(watched_keys))
