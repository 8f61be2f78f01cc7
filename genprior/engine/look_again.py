"""Finds the first value of a phase that is not finite, by running the phase again."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genprior.engine.step import gradients_of
from genprior.parts import Batch, Codes, Model, Part, Phase

__all__ = ["First", "first_not_finite"]


class First(NamedTuple):
    """The first value that is not finite."""

    text: str
    """In words."""
    role: str | None = None
    """The module of the model that it is of; None for a batch or a loss."""
    part: type[Part] | None = None
    """The part that returned it."""
    place: str | None = None
    """The line that returned it, `file:line`."""


def first_not_finite(
    phases: Sequence[Phase],
    batch: Batch | Codes,
    model: Model,
    autocast: contextlib.AbstractContextManager[object] | None = None,
) -> First | None:
    """The first value that is not finite in the last of `phases`, in words; None if there is none, or it raises.

    Nothing is updated, and buffers are put back. The random generators must stand as at the start of the step.

    Args:
        phases: the phases of the step up to the one in question; those before it draw what they drew then.
        batch: the images of the step.
        model: the model, with the weights that the phase found.
        autocast: a context for the forward passes.
    """
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        if any(_is_bad(tensor) for tensor in batch):
            return First("the batch of images")
        for name, tensor in model.state_dict().items():
            if _is_bad(tensor):
                return First(f"the weights or statistics {name} of the model", name.partition(".")[0])
        with autocast or contextlib.nullcontext():
            for earlier in phases[:-1]:
                earlier.objectives(batch)
        phase = phases[-1]
        found: list[First] = []
        with _watching(model, found.append), autocast or contextlib.nullcontext():
            objectives = phase.objectives(batch)
        if found:
            return found[0]
        for name, loss in objectives.items():
            if _is_bad(loss):
                return First(f"the loss of {name}, computed from finite values")
        for name, pairs in gradients_of(phase, objectives, dict(model.named_children())).items():
            names = {parameter: path for path, parameter in getattr(model, name).named_parameters()}
            for parameter, gradient in pairs:
                if _is_bad(gradient):
                    return First(f"the gradient of {name}.{names[parameter]}, of a finite loss", name)
    except Exception:  # of a part that meets such values: what was recorded is reported
        return None
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
    return None


def _is_bad(value: Any) -> bool:
    """Whether a value is or holds a tensor with a number that is not finite."""
    if isinstance(value, Tensor):
        return value.is_floating_point() and not bool(torch.isfinite(value.detach()).all())
    if isinstance(value, Mapping):
        return any(_is_bad(each) for each in value.values())
    return isinstance(value, tuple | list) and any(_is_bad(each) for each in value)


@contextlib.contextmanager
def _watching(model: Model, report: Callable[[First], None]) -> Iterator[None]:
    """Report what the methods of the model's parts and layers return inside the block, if it is not finite.

    A profile function sees all of them; hooks of modules would see only what is called as a module, so no draws of a
    prior.
    """
    paths: dict[int, str] = {id(module): path or "the model" for path, module in model.named_modules()}
    paths |= {id(each): role for role, each in vars(model).items() if isinstance(each, Part)}

    def returned(frame: FrameType, event: str, value: Any) -> None:
        if event == "return" and isinstance(value, Tensor | tuple | list | Mapping):
            owner = frame.f_locals.get("self")
            path = paths.get(id(owner))
            if path is not None and _is_bad(value):
                text = f"what {path} ({type(owner).__name__}) returned from {frame.f_code.co_name}()"
                part = type(owner) if isinstance(owner, Part) else None
                place = f"{frame.f_code.co_filename}:{frame.f_lineno}" if part is not None else None
                report(First(text, path.partition(".")[0], part, place))

    before = sys.getprofile()
    sys.setprofile(returned)
    try:
        yield
    finally:
        sys.setprofile(before)
