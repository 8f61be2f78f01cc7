"""What processes that share the steps of a training give each other; one process has nothing to give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from genprior.engine.batch_norm import synchronise
from genprior.engine.precision import Precision
from genprior.engine.ranks import rank, world
from genprior.recipe.plan import Plan
from genprior.runs.early_stopping import EarlyStopping
from genprior.runs.row_training import RowTraining
from genprior.storage.checkpoint import Checkpoint

__all__ = ["Given", "SharedTraining"]

Given = tuple[int, dict[str, Tensor], dict[str, Any], Precision]
"""The step, the tensors and facts of a checkpoint, and the precision, which a process may have measured."""


class SharedTraining(RowTraining):
    """The training steps of a row, which other processes can share from any checkpoint on."""

    def __init__(self, plan: Plan, seed: int, folder: Path, **options: Any) -> None:
        """Set what to train; see `RowTraining`."""
        super().__init__(plan, seed, folder, **options)
        self.seconds = 0.0
        self.ranks = world()
        """How many processes share the batches."""
        self.apart = False
        """Whether an error now would be this process's alone, while others wait for its next step."""
        self._stopping = EarlyStopping(self.plan.run.stop, seed)

    def given(self) -> Given:
        """What processes that join the training take."""
        tensors = {name: each.cpu() for name, each in self._state.tensors().items()}
        return self.step, tensors, self._checkpoint_facts(), self.precision

    def take(self, given: Given) -> None:
        """Begin a training that processes share, from what `given` returned in the first one."""
        if self.plan.run.sync_batch_norm:
            synchronise(self.model, self.data.share)
        if rank() != 0:
            step, tensors, facts, precision = given
            self._compute_in(precision)
            tensors = {name: each.to(self._device) for name, each in tensors.items()}
            self._state.take(Checkpoint(step, tensors, facts))
            self.step, self.seconds = step, facts["seconds"]
            self._stopping.restore(facts)

    def _checkpoint_facts(self) -> dict[str, Any]:
        facts = {"seconds": self.seconds, "data": self._info._asdict(), **self._state.facts()}
        return {**facts, **self._stopping.facts(), **self._listeners.facts()}

    def _facts_of_ranks(self) -> dict[str, Any]:
        """How many processes share the batches, and whose batch statistics they have; empty for one process."""
        statistics = "of the whole batch" if self.plan.run.sync_batch_norm else "of the slice of each process"
        return {"ranks": self.ranks, "batch_statistics": statistics} if self.ranks > 1 else {}
