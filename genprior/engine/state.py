"""What training has changed, as a checkpoint: weights, moments of optimisers, averaged weights, sums of the records."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genprior.engine.divergence import Guard
from genprior.engine.ema import AveragedWeights
from genprior.engine.optimise import Optimisers
from genprior.engine.recorder import Recorder
from genprior.errors import CheckpointError, in_a_sentence
from genprior.parts import Model
from genprior.storage import checkpoint
from genprior.storage.restore import load_weights

__all__ = ["TrainingState", "same"]


class TrainingState:
    """All that a step changes, to be written to checkpoints and read back."""

    def __init__(
        self,
        model: Model,
        optimisers: Optimisers,
        average: AveragedWeights | None,
        recorder: Recorder,
        guard: Guard,
    ) -> None:
        """Hold what changes in training."""
        self._model = model
        self._optimisers = optimisers
        self._average = average
        self._recorder = recorder
        self._guard = guard

    def tensors(self) -> dict[str, Tensor]:
        """All tensors: `model/...`, those of `Optimisers.tensors`, `average/...`, `recorder/<phase>`."""
        tensors: dict[str, Tensor] = {f"model/{name}": tensor for name, tensor in self._model.state_dict().items()}
        tensors |= self._optimisers.tensors()
        if self._average is not None:
            tensors |= {f"average/{name}": tensor for name, tensor in self._average.tensors.items()}
        return tensors | {f"recorder/{name}": total for name, total in self._recorder.tensors().items()}

    def facts(self) -> dict[str, Any]:
        """What a checkpoint holds beside the tensors: counts of recorded values and of steps that were left out.

        Also numbers that optimisers count, and the states of schedules, where there are any.
        """
        optimisers = self._optimisers.facts()
        facts = {"recorder": self._recorder.facts(), "skipped": self._guard.skipped}
        return {**facts, **({"optimisers": optimisers} if optimisers else {})}

    def restore_weights(self, path: Path, device: torch.device) -> None:
        """Take the weights from a checkpoint, live and averaged, and those of optimisers; counts stay as they are.

        Raises:
            CheckpointError: it is damaged, or of another model.
        """
        saved = checkpoint.read(path, device)
        with _fitting(path):
            self._restore_weights(saved)

    def _restore_weights(self, saved: checkpoint.Checkpoint) -> None:
        load_weights(self._model, saved.under("model"))
        self._optimisers.restore(saved.under, saved.facts.get("optimisers", {}))
        if self._average is not None:
            self._average.load(saved.under("average"))

    def restore(self, path: Path, device: torch.device) -> checkpoint.Checkpoint:
        """Take everything from a checkpoint, and return it.

        Raises:
            CheckpointError: it is damaged, or of another model.
        """
        saved = checkpoint.read(path, device)
        with _fitting(path):
            self.take(saved)
        return saved

    def take(self, saved: checkpoint.Checkpoint) -> None:
        """Take everything from the content of a checkpoint."""
        self._restore_weights(saved)
        # Checkpoints of older versions do not hold these.
        self._recorder.restore(saved.under("recorder"), saved.facts.get("recorder", {}))
        self._guard.restore(saved.facts.get("skipped", ()))


@contextlib.contextmanager
def _fitting(path: Path) -> Iterator[None]:
    """Say of a checkpoint whose content does not fit that it does not."""
    try:
        yield
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"the checkpoint {path} does not fit the model of this recipe: {in_a_sentence(error)}. "
            "It was written by other code or another plugin version; give another --out to train anew."
        ) from error


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal, NaN included."""
    return (
        one.shape == other.shape
        and one.dtype == other.dtype
        and bool(((one == other) | ((one != one) & (other != other))).all())
    )
