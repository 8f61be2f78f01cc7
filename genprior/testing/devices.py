"""A second device without one: a part is run on the CPU, and tensors of both devices must not meet.

Every tensor is on the CPU. The parameters and buffers of a part and its inputs are marked as being elsewhere, and
`x.device` of a marked tensor is `ELSEWHERE`. A result is marked if its inputs are, or if it was made with that device.
A marked tensor that meets an unmarked one is what fails on a GPU. Unlike on torch's meta device, values can be read.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from genprior.testing.report import describe

__all__ = ["ELSEWHERE", "SecondDevice", "is_elsewhere", "place_module"]

ELSEWHERE = torch.device("cuda", 0)
"""The device that a marked tensor says it is on; it need not exist."""
HERE = torch.device("cpu")
MARK = "genprior_elsewhere"

_DEVICE_OF = Tensor.device.__get__
_MOVES = {Tensor.cpu: HERE, Tensor.cuda: ELSEWHERE}
# These take tensors of both devices: they copy, or use an index on the CPU.
_COPIES = {Tensor.copy_, Tensor.__setitem__}
_SCALARS_TOO = {torch.cat, torch.stack}
"""Functions that do not even take a single number on the CPU beside tensors that are elsewhere."""
_LIBRARIES = tuple(str(Path(sysconfig.get_path(name)).resolve()) for name in ("purelib", "stdlib"))


def is_elsewhere(tensor: Tensor) -> bool:
    """Whether a tensor is marked."""
    return MARK in vars(tensor)


def place_module(module: nn.Module) -> None:
    """Mark all parameters and buffers of a module, which `module.to(device)` would move."""
    for tensor in (*module.parameters(), *module.buffers()):
        vars(tensor)[MARK] = True


class SecondDevice(TorchFunctionMode):
    """Simulates the second device inside a `with` block; `mixed` lists where tensors of both devices met.

    Marks are lost inside `torch.func`, such as in `vmap`, so `judges` is then False.
    """

    def __init__(self) -> None:
        """Nothing has met yet."""
        super().__init__()
        self.mixed: list[str] = []
        self.judges = True

    def wrong(self, result: Any) -> str:
        """What would fail on a GPU: a meeting of both devices, or a result on the CPU; empty if nothing would."""
        if not self.judges:
            return ""
        left = [t for t in _tensors(result) if not is_elsewhere(t) and t.grad_fn is None]
        return self.mixed[0] if self.mixed else describe(left[0]) if left else ""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a function of torch, and mark its result."""
        given = dict(kwargs or {})
        if func == _DEVICE_OF:
            return ELSEWHERE if is_elsewhere(args[0]) else func(*args)
        device = _MOVES.get(func, _device_in((*args, *given.values())))
        tensors = list(_tensors((args, tuple(given.values()))))
        marked = any(map(is_elsewhere, tensors))
        self.judges = self.judges and not any(map(torch._C._functorch.is_functorch_wrapped_tensor, tensors))
        if func in _MOVES or func is Tensor.to:
            result = args[0] if func in _MOVES else func(*_on_cpu(args), **_on_cpu(given))
            # Without a device, another tensor may say where to: x.to(other).
            target = (marked if len(tensors) == 1 else is_elsewhere(tensors[1])) if device is None else device != HERE
            if is_elsewhere(result) != target:
                result = result.view_as(result)  # an object of its own, because the mark belongs to the object
                vars(result).pop(MARK, None)
        else:
            if marked and device is None:
                self._note_mixed(func, args, tensors)
            result = func(*_on_cpu(args), **_on_cpu(given))
            target = marked if device is None else device != HERE
        if target:
            for tensor in _tensors(result):
                vars(tensor)[MARK] = True
        return result

    def _note_mixed(self, func: Callable[..., Any], args: tuple[Any, ...], tensors: list[Tensor]) -> None:
        """Remember a call with tensors of both devices, unless torch allows it."""
        if func in _COPIES or (func is Tensor.__getitem__ and is_elsewhere(args[0])):
            return
        # The result of an autograd.Function may be another object than the one that was marked: it is not judged.
        here = [tensor for tensor in tensors if not is_elsewhere(tensor) and tensor.grad_fn is None]
        if any(tensor.dim() or func in _SCALARS_TOO for tensor in here):
            name = _name_of(func)
            self.mixed.append(f"{name} was called with a tensor {list(here[0].shape)} on the CPU, {_caller()}")


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))


def _is_device(value: Any) -> bool:
    return isinstance(value, torch.device) or (isinstance(value, str) and value.split(":")[0] in ("cpu", "cuda"))


def _device_in(values: Iterable[Any]) -> torch.device | None:
    """The device among arguments; None without one."""
    return next((torch.device(value) for value in values if _is_device(value)), None)


def _on_cpu(value: Any) -> Any:
    """Arguments with the CPU in place of another device."""
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(HERE if _is_device(item) else item for item in value)
    return {key: HERE if _is_device(item) else item for key, item in value.items()}


def _caller() -> str:
    """The line outside of libraries that called a function of torch, and how it reads."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        file = frame.f_code.co_filename
        if file != __file__ and not file.startswith(("<", *_LIBRARIES)):
            return f"at {file}:{frame.f_lineno}, in {frame.f_code.co_name}"
        frame = frame.f_back
    return "in a library"


def _name_of(func: Callable[..., Any]) -> str:
    """For example `mul`; `resolve_name` of torch knows the names of methods too."""
    name = resolve_name(func) or str(func)
    return name.rpartition(".")[2].strip("_")
