"""A CUDA graph's stand-in on the CPU: the operations of a step are recorded once, and replayed on the same tensors.

As a graph does, a replay repeats each operation with the tensors and numbers of the recorded step: what Python computed
then is fixed, and new values come from what lies in the recorded tensors alone. As a capture does, recording changes
nothing, and operations that give the host a value of a tensor, for which a GPU would have to wait, are refused.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ATEN = torch.ops.aten
WAITING = {
    ATEN._local_scalar_dense.default,
    ATEN.nonzero.default,
    ATEN.equal.default,
    ATEN.is_nonzero.default,
    ATEN.index_fill.int_Tensor,  # reads the value; the gradient of `trace` calls it
    ATEN.index_fill_.int_Tensor,
    ATEN.masked_select.default,
    ATEN.unique_dim.default,
    ATEN._unique2.default,
    ATEN.unique_consecutive.default,
    ATEN.repeat_interleave.Tensor,
    ATEN.bincount.default,
}
"""Operations whose result on the host, or whose shape, depends on values on the device."""
STATISTICS = {ATEN.native_batch_norm.default: (3, 4)}
"""Arguments that an operation writes though its schema does not say so."""


class _Recording(TorchDispatchMode):
    def __init__(self, refuse: bool = True, keep: bool = True) -> None:
        super().__init__()
        self.refuse, self.keep = refuse, keep
        self.waits: list[str] = []
        self.operations: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self.written: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        indexed = func in (ATEN.index.Tensor, ATEN.index_put_.default, ATEN.index_put.default) and any(
            each is not None and each.dtype in (torch.bool, torch.uint8) for each in args[1]
        )
        if func in WAITING or indexed:
            where = _caller()
            if "one_hot" not in where:  # CUDA does not check that labels are in range, as CPUs do
                self.waits.append(f"{func} at {where}")
                if self.refuse:
                    raise RuntimeError(f"{func} waits for the device")
        if self.keep:
            for place, argument in enumerate(func._schema.arguments):
                value = args[place] if place < len(args) else kwargs.get(argument.name)
                written = argument.alias_info is not None and argument.alias_info.is_write
                if written or place in STATISTICS.get(func, ()):
                    self.written += [(each, each.clone()) for each in tree_leaves(value) if isinstance(each, Tensor)]
        result = func(*args, **kwargs)
        if self.keep:
            results = [each.detach() for each in tree_leaves(result) if isinstance(each, Tensor)]
            self.operations.append((func, args, kwargs, results))
        return result


def _caller() -> str:
    """The innermost line of genprior or of its parts that is running."""
    frames = [
        each for each in traceback.extract_stack() if "/genprior" in each.filename and "/tests/" not in each.filename
    ]
    return f"{frames[-1].filename.rpartition('/genprior')[2]}:{frames[-1].lineno}: {frames[-1].line}" if frames else ""


class RecordedOperations:
    """Captures steps as `genprior.engine.graphs.Capture` says; counts what it replayed."""

    def __init__(self) -> None:
        self.captured = self.replayed = 0

    def __call__(self, step: Callable[[], None]) -> Callable[[], None]:
        drawn = torch.default_generator.get_state()
        recording = _Recording()
        with recording:
            step()
        with torch.no_grad():
            for tensor, before in reversed(recording.written):
                tensor.copy_(before)
        torch.default_generator.set_state(drawn)
        recording.written.clear()
        self.captured += 1
        return lambda: self._replay(recording.operations)

    def watched(self, step: Callable[[], None]) -> str | None:
        watching = _Recording(refuse=False, keep=False)
        with watching:
            step()
        return f"a step waits for the device ({watching.waits[0]})" if watching.waits else None

    @torch.no_grad()
    def _replay(self, operations: list[tuple[Any, Any, Any, list[Tensor]]]) -> None:
        self.replayed += 1
        for func, args, kwargs, recorded in operations:
            results = [each for each in tree_leaves(func(*args, **kwargs)) if isinstance(each, Tensor)]
            for place, value in zip(recorded, results, strict=True):
                if place.data_ptr() != value.data_ptr():
                    place.copy_(value)
