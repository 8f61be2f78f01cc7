"""One CUDA graph for the phases of a step: their kernels are captured once and replayed, without launching each.

What a captured step reads is at fixed places on the device: the batch with the step's number, learning rates that
change, weights, moments, sums of the records. What happens on the host in the step is not part of it. So the first
steps of each kind run without a graph and are watched: whether they wait for the device, draw random numbers on the
host, count in an optimiser on the host, or replace a parameter or buffer in place of changing it. If one does, the
training runs on as before, and a warning says why.

Not checked: Python attributes that a model or a hook changes at each step and reads in the phases keep the value that
they had at the capture. Such trainings need `run.graph = "off"`.

Draws equal those without a graph: a replay takes the seed and the offset that the generator of the device then has, and
each step is seeded by its number.

Source: https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs, "Whole-network capture".
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
import torch.distributed
from torch import Tensor, nn

from genprior.engine.optimise import Optimisers
from genprior.engine.recorder import Recorder
from genprior.errors import GenpriorWarning
from genprior.parts import Batch, Codes, Phase

__all__ = ["Capture", "CudaCapture", "Graphs", "refusal"]

EAGER_STEPS = 3
"""Steps of a kind that run without a graph before the next one is captured: they make moments and choose kernels."""
KINDS = 8
"""The most kinds of steps, by phases that are due and shapes of the batch, that are captured."""


class Capture(Protocol):
    """Records a step without running it."""

    def __call__(self, step: Callable[[], None]) -> Callable[[], None]:
        """What replays `step`."""

    def watched(self, step: Callable[[], None]) -> str | None:
        """Run `step`; returns in words what in it waits for the device, or None."""


class CudaCapture:
    """CUDA graphs that share their memory: nothing in it outlives a replay."""

    def __init__(self) -> None:
        """Capture nothing yet."""
        self._pool: Any = None
        self._stream: torch.cuda.Stream | None = None

    def __call__(self, step: Callable[[], None]) -> Callable[[], None]:
        """Capture `step`, which runs at the first call of what is returned.

        Raises:
            RuntimeError: something in it cannot be captured.
        """
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            step()
        self._pool = graph.pool()
        return graph.replay

    def watched(self, step: Callable[[], None]) -> str | None:
        """Run `step` on a stream of its own, as PyTorch asks for steps before a capture."""
        self._stream = self._stream or torch.cuda.Stream()  # type: ignore[no-untyped-call]
        before = torch.cuda.get_sync_debug_mode()
        self._stream.wait_stream(torch.cuda.current_stream())
        with warnings.catch_warnings(record=True) as caught, torch.cuda.stream(self._stream):
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                step()
            finally:
                torch.cuda.set_sync_debug_mode(before)
        torch.cuda.current_stream().wait_stream(self._stream)
        waits = None
        for each in caught:
            if "called a synchronizing" in str(each.message):
                waits = f"a step waits for the device ({each.filename}:{each.lineno})"
            elif "Synchronization debug mode" not in str(each.message):  # it warns of itself
                warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
        return waits


def refusal(device: torch.device, optimisers: Mapping[str, torch.optim.Optimizer]) -> str | None:
    """Why no step of a training can be captured, as far as this is known before the first one; None if it is not."""
    if device.type != "cuda":
        return f"the device is '{device.type}', and only CUDA has graphs"
    return needs_host(optimisers)


def needs_host(optimisers: Mapping[str, torch.optim.Optimizer]) -> str | None:
    """Why a step needs the host, on any device; None if nothing is known."""
    if torch.distributed.is_initialized():
        return "several processes share a batch"
    for name, optimiser in optimisers.items():
        if not all(group.get("fused") for group in optimiser.param_groups):
            return f"the optimiser of '{name}', {type(optimiser).__name__}, does not run fused"
    return None


class Graphs:
    """Runs the phases of each step, captured as soon as it is known that they can be."""

    eager_steps = EAGER_STEPS
    """Steps of each kind that run without a graph; the next one is captured."""

    def __init__(
        self, capture: Capture, modules: Mapping[str, nn.Module], optimising: Optimisers, recorder: Recorder, row: str
    ) -> None:
        """Begin without graphs.

        Args:
            capture: records a step.
            modules: the modules that the phases train.
            optimising: their optimisers; learning rates that change are moved to the device.
            recorder: where the phases record.
            row: names the training in a warning.
        """
        self._capture: Capture | None = capture
        self._modules = dict(modules)
        self._optimising = optimising
        self._recorder = recorder
        self._row = row
        self._seen: dict[tuple[Any, ...], int] = {}
        self._captured: dict[tuple[Any, ...], tuple[list[Tensor], Callable[[], None]]] = {}
        optimising.rates_on_device()

    @property
    def captured(self) -> int:
        """How many kinds of steps are captured, and replayed from then on."""
        return len(self._captured)

    def run(self, phases: Sequence[Phase], batch: Batch | Codes, step: Callable[[Batch | Codes], None]) -> None:
        """Run the phases of a step.

        Args:
            phases: those that are due.
            batch: the batch of the step.
            step: runs the phases on a batch; it reads nothing that changes from step to step but tensors.
        """
        tensors = _tensors_of(batch)
        kind = (*(phase.name for phase in phases), *((tuple(each.shape), each.stride()) for each in tensors))
        if self._capture is None:
            step(batch)
        elif kind in self._captured:
            places, replay = self._captured[kind]
            self._fill_and_replay(places, tensors, replay, phases)
        elif self._seen.get(kind, 0) < EAGER_STEPS:
            self._seen[kind] = self._seen.get(kind, 0) + 1
            reason = self._watched(self._capture, lambda: step(batch))
            if len(self._seen) > KINDS:
                self._give_up(f"there are more than {KINDS} kinds of steps, by shapes of batches and phases due")
            elif reason is not None and self._seen[kind] == EAGER_STEPS:  # the first ones make moments, for example
                self._give_up(reason)
        else:
            places = [each.clone() for each in tensors]
            held = _with_tensors(batch, iter(places))
            try:
                with self._optimising.captured():
                    replay = self._capture(lambda: step(held))
            except RuntimeError as error:
                self._give_up(f"it cannot be captured: {str(error).splitlines()[0]}")
                step(batch)
                return
            self._captured[kind] = places, replay
            self._fill_and_replay(places, tensors, replay, phases)

    def _fill_and_replay(
        self, places: list[Tensor], tensors: list[Tensor], replay: Callable[[], None], phases: Sequence[Phase]
    ) -> None:
        for place, tensor in zip(places, tensors, strict=True):
            place.copy_(tensor)
        replay()
        self._recorder.added(phase.name for phase in phases)

    def _give_up(self, reason: str) -> None:
        self._capture = None
        self._captured.clear()
        warnings.warn(
            GenpriorWarning(f"{self._row}: steps are not captured as a CUDA graph, because {reason}"), stacklevel=3
        )

    def _watched(self, capture: Capture, step: Callable[[], None]) -> str | None:
        """Run a step; returns what in it a graph would not repeat, or None."""
        places = self._places()
        numbers, drawn = self._optimising.numbers(), torch.default_generator.get_state()
        waits = capture.watched(step)
        if waits is not None:
            return waits
        if not torch.equal(torch.default_generator.get_state(), drawn) and self._on_device:
            return "a step draws random numbers on the host"
        if self._optimising.numbers() != numbers:
            return "an optimiser counts on the host"
        moved = [name for name, place in self._places().items() if place != places[name]]
        return f"a step replaces {moved[0]} in place of changing it" if moved else None

    @property
    def _on_device(self) -> bool:
        return any(each.device.type != "cpu" for module in self._modules.values() for each in module.parameters())

    def _places(self) -> dict[str, int]:
        """Where parameters and buffers lie in memory, by their names."""
        return {
            f"{role}.{name}": tensor.data_ptr()
            for role, module in self._modules.items()
            for named in (module.named_parameters(), module.named_buffers())
            for name, tensor in named
        }


def _tensors_of(batch: Batch | Codes) -> list[Tensor]:
    """The tensors of a batch, and of the batch of labelled images in it, in order."""
    return [
        tensor
        for each in batch
        if each is not None
        for tensor in ([each] if isinstance(each, Tensor) else _tensors_of(each))
    ]


def _with_tensors(batch: Any, tensors: Iterator[Tensor]) -> Any:
    """The batch with other tensors, in the order of `_tensors_of`."""
    return type(batch)(
        *(
            next(tensors) if isinstance(each, Tensor) else None if each is None else _with_tensors(each, tensors)
            for each in batch
        )
    )
