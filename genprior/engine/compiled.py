"""Networks that torch.compile fuses, inside of the phases of a step alone.

A phase is run once before training, on the first batch, without changing anything, and watched: the modules that it
calls are compiled, each as a whole. Then it is run again, compiled, which takes the time of compilation, and its losses
are compared. Modules stay the objects that they are: torch calls the compiled code in their place while a phase runs.
So checkpoints, averaged weights, evaluation, samples and exports know nothing of it.

Not compiled, with a reason, are modules whose gradient is differentiated again, in a gradient penalty, which compiled
code cannot; those that the compiler refuses; and all where it is missing.

Source: https://docs.pytorch.org/docs/stable/torch.compiler.html.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import time
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from genprior.data.notices import notice
from genprior.engine.copies import copies_of, copy_into
from genprior.engine.step import gradients_of
from genprior.errors import GenpriorWarning, listed
from genprior.parts import Batch, Codes, Phase
from genprior.storage.cache_folder import cache_folder

__all__ = ["BOUND", "Compiled", "Compiler", "no_compilation"]

Compiler = str | Callable[..., Any]
"""A backend of torch.compile."""

BOUND = 0.05
"""The largest difference of a loss, compiled and not, in units of 1 + |loss|; beyond it a phase is not compiled."""

_TWICE = "in phases that differentiate its gradient again, which compiled code cannot"


def no_compilation() -> str | None:
    """Why nothing can be compiled in this process, as far as this is known before; None if it can."""
    if torch.distributed.is_initialized():
        return "several processes share a batch"
    try:
        importlib.import_module("torch._dynamo")
    except Exception as error:  # noqa: BLE001 - whatever a broken installation raises
        return f"torch.compile cannot be used here: {_in_a_line(error)}"
    return None


class Compiled:
    """The compiled networks of a training, and which phases use them."""

    def __init__(self, model: nn.Module, modules: Mapping[str, nn.Module], row: str, compiler: Compiler) -> None:
        """Compile nothing yet.

        Args:
            model: the model; what its phases call outside of it is left alone.
            modules: the modules that the phases train.
            row: names the training in messages.
            compiler: the backend of torch.compile.
        """
        self._modules = dict(modules)
        self._paths = {module: path for path, module in model.named_modules() if path}
        buffers = (buffer for part in (model, *modules.values()) for buffer in part.buffers())
        self._buffers = list({id(buffer): buffer for buffer in buffers}.values())
        self._row = row
        self._compiler = compiler
        self._networks: dict[nn.Module, _Network] = {}
        self._used: dict[str, list[_Network]] = {}
        self._left_out: dict[str, dict[str, None]] = {}
        self.seconds: float | None = None
        """How long compilation took; None before `rehearse`."""

    def facts(self) -> dict[str, Any]:
        """For `run.json`: which networks are compiled, which are not and why, and how long compilation took."""
        used = [network for networks in self._used.values() for network in networks if network.failed is None]
        return {
            "networks": sorted({network.path for network in used}),
            "eager": {reason: sorted(paths) for reason, paths in self._reasons().items()},
            "seconds": self.seconds,
        }

    def _reasons(self) -> dict[str, list[str]]:
        reasons = {reason: list(paths) for reason, paths in self._left_out.items()}
        for network in self._networks.values():
            if network.failed is not None:
                reasons.setdefault(network.failed, []).append(network.path)
        return reasons

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Use the compiled networks of a phase inside the block."""
        used = self._used.get(name, ())
        for network in used:
            # Where torch looks for what `nn.Module.compile` makes; not through __setattr__, which takes longer.
            network.module.__dict__["_compiled_call_impl"] = network
        try:
            yield
        finally:
            for network in used:
                network.module.__dict__.pop("_compiled_call_impl", None)

    def rehearse(
        self, phases: Sequence[Phase], batch: Batch | Codes, autocast: contextlib.AbstractContextManager[object]
    ) -> None:
        """Compile what the phases call, on a batch. Nothing is updated; buffers and random generators are put back.

        A notice tells how long it took, a warning what is not compiled, and why.
        """
        _keep_code()
        devices = [batch[0].device] if batch[0].device.type == "cuda" else []
        before = copies_of(self._buffers)
        with torch.random.fork_rng(devices=devices):
            seconds = 0.0
            for phase in phases:
                calls = _Calls(self._paths)
                with torch.random.fork_rng(devices=devices), calls:
                    expected = self._losses(phase, batch, autocast)
                copy_into(self._buffers, before)
                self._choose(phase, calls)
                started = time.perf_counter()
                with torch.random.fork_rng(devices=devices):
                    self._try(phase, batch, autocast, expected)
                seconds += time.perf_counter() - started
                copy_into(self._buffers, before)
        self.seconds = round(seconds, 1)
        compiled = self.facts()["networks"]
        if compiled:
            notice(f"{self._row}: compiled in {self.seconds:.0f} s: {', '.join(compiled)}")
        if reasons := self._reasons():
            text = "; ".join(f"{listed(sorted(paths))} ({reason})" for reason, paths in reasons.items())
            warnings.warn(GenpriorWarning(f"{self._row}: not compiled: {text}"), stacklevel=3)

    def _losses(
        self, phase: Phase, batch: Batch | Codes, autocast: contextlib.AbstractContextManager[object]
    ) -> list[Tensor]:
        with autocast:
            objectives = phase.objectives(batch)
        losses = [loss.detach().float() for loss in objectives.losses.values()]
        gradients_of(phase, objectives, self._modules)
        return losses

    def _choose(self, phase: Phase, calls: _Calls) -> None:
        """Choose the networks of a phase from what it called."""
        for module, inside in calls.inside.items():
            if not _worth_it(module, inside) or module.__dict__.get("_compiled_call_impl") is not None:
                continue
            if not calls.twice.isdisjoint(id(p) for each in inside for p in each.parameters()):
                self._leave_out(_TWICE, self._paths[module])
                continue
            if module not in self._networks:
                self._networks[module] = _Network(module, self._paths[module], self._compiler, self._failed)
            self._used.setdefault(phase.name, []).append(self._networks[module])

    def _try(
        self,
        phase: Phase,
        batch: Batch | Codes,
        autocast: contextlib.AbstractContextManager[object],
        expected: Sequence[Tensor],
    ) -> None:
        """Run a phase compiled; leave it uncompiled if that raises an error, or gives other losses."""
        reason = None
        try:
            with self.phase(phase.name), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the phase's own were shown before; others are the compiler's
                losses = self._losses(phase, batch, autocast)
        except Exception as error:  # noqa: BLE001 - the compiler's, of any kind: without it the phase ran
            reason = f"phase '{phase.name}' raises {_in_a_line(error)}"
        else:
            pairs = zip(losses, expected, strict=True)
            if any(bool((loss - other).abs() > BOUND * (1 + other.abs())) for loss, other in pairs):
                reason = f"phase '{phase.name}' has other losses"
        if reason is not None:
            for network in self._used.pop(phase.name, ()):
                self._leave_out(reason, network.path)

    def _failed(self, network: _Network) -> None:
        """Warn of a network that fails later; those of the rehearsal are told together."""
        if self.seconds is not None:
            text = f"{self._row}: no longer compiled: {network.path} ({network.failed})"
            warnings.warn(GenpriorWarning(text), stacklevel=2)

    def _leave_out(self, reason: str, path: str) -> None:
        self._left_out.setdefault(reason, {})[path] = None


class _Network:
    """A module's call, compiled as a whole; the module's own call once that fails."""

    def __init__(self, module: nn.Module, path: str, compiler: Compiler, failing: Callable[[_Network], None]) -> None:
        self.module = module
        self.path = path
        self._failing = failing
        self.failed: str | None = None
        """Why it is not compiled; None if it is."""
        # Draws of a compiled network, such as dropout, are then those of torch.
        options: Any = {"fallback_random": True} if compiler == "inductor" else None
        compiled = torch.compile(_call_of(module), fullgraph=True, dynamic=False, backend=compiler, options=options)
        self._compiled: Callable[..., Any] = compiled

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.failed is None and not is_in_torch_dispatch_mode():  # which sees operations, as a counter of FLOP does
            try:
                return self._compiled(*args, **kwargs)
            except _errors() as error:  # raised before anything is computed
                self.failed = _in_a_line(error)
                self._failing(self)
        return self.module._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]


def _call_of(module: nn.Module) -> Callable[..., Any]:
    """A module's call as a function with code of its own, under which torch keeps what it compiles and counts it."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return module._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]

    code = call.__code__.replace(co_name=f"call_{type(module).__name__}")
    return types.FunctionType(code, call.__globals__, code.co_name, None, call.__closure__)


class _Calls:
    """Notes, inside of a `with` block, which modules are called from outside of all others.

    Also the parameters on which a gradient depends that is itself differentiated.
    """

    def __init__(self, paths: Mapping[nn.Module, str]) -> None:
        self._paths = paths
        self._stack: list[nn.Module] = []
        self._watch = contextlib.ExitStack()
        self.inside: dict[nn.Module, dict[nn.Module, None]] = {}
        """The modules that are called from outside, each with what was called inside of it, also of other parts."""
        self.twice: set[int] = set()
        """Parameters, by `id`."""

    def __enter__(self) -> _Calls:
        called = register_module_forward_pre_hook(self._called)
        returned = register_module_forward_hook(self._returned, always_call=True)
        self._watch.callback(called.remove)
        self._watch.callback(returned.remove)
        self._watch.enter_context(_Gradients(self.twice))
        return self

    def __exit__(self, *error: object) -> None:
        self._watch.close()

    def _called(self, module: nn.Module, args: Any) -> None:
        if module in self._paths:
            self._stack.append(module)
            self.inside.setdefault(self._stack[0], {})[module] = None

    def _returned(self, module: nn.Module, args: Any, output: Any) -> None:
        if module in self._paths:
            self._stack.pop()


class _Gradients(TorchFunctionMode):
    """Notes the parameters on which gradients depend that can be differentiated again."""

    def __init__(self, parameters: set[int]) -> None:
        super().__init__()
        self._parameters = parameters

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.autograd.grad and kwargs.get("create_graph"):
            outputs = (args or (kwargs["outputs"],))[0]
            self._parameters |= _leaves_of([outputs] if isinstance(outputs, Tensor) else outputs)
        return func(*args, **kwargs)


def _leaves_of(outputs: Iterable[Tensor]) -> set[int]:
    """The leaves of the graph from which tensors are computed, by `id`."""
    leaves: set[int] = set()
    seen: set[Any] = set()
    nodes: list[Any] = [output.grad_fn for output in outputs]
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)  # the nodes of leaves have it
        if leaf is not None:
            leaves.add(id(leaf))
        nodes += [before for before, _ in node.next_functions]
    return leaves


def _worth_it(module: nn.Module, inside: Iterable[nn.Module]) -> bool:
    """Whether there is something to fuse: at least two layers that a call of the module calls."""
    return sum(1 for each in inside if each is not module and not any(True for _ in each.children())) > 1


@functools.cache
def _errors() -> tuple[type[Exception], ...]:
    """What torch.compile raises of code that it cannot compile; imported here, because that takes seconds."""
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

    return TorchDynamoException, FailOnRecompileLimitHit


def _keep_code() -> None:
    """Keep compiled code in the cache folder, where it can be written and the user has chosen no other."""
    # Losses of one phase share graphs, which are then differentiated several times.
    importlib.import_module("torch._functorch.config").donated_buffer = False  # type: ignore[attr-defined]
    folder = cache_folder() / "compiled"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))


def _in_a_line(error: BaseException) -> str:
    """An error's kind and first line; of a compiler, that of what it met."""
    inner: BaseException = getattr(error, "inner_exception", error)
    lines = [line.strip() for line in str(inner).splitlines() if line.strip()]
    return f"{type(inner).__name__}: {lines[0]}" if lines else type(inner).__name__
