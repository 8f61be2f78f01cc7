"""What training has changed, as the tensors of a checkpoint: weights, the optimisers' moments, averaged weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from genprior.engine.ema import AveragedWeights
from genprior.errors import CheckpointError
from genprior.parts import Model
from genprior.storage import checkpoint

__all__ = ["TrainingState"]


class TrainingState:
    """A model, its optimisers and its averaged weights, to be written to checkpoints and read back."""

    def __init__(
        self, model: Model, optimisers: Mapping[str, torch.optim.Optimizer], average: AveragedWeights | None
    ) -> None:
        """Hold what changes in training; `optimisers` has them by the name of their module."""
        self._model = model
        self._modules = dict(model.named_children())
        self._optimisers = optimisers
        self._average = average

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name: `model/...`, `optimiser/<module>/<parameter>/<moment>` and `average/...`."""
        tensors: dict[str, Tensor] = {f"model/{name}": tensor for name, tensor in self._model.state_dict().items()}
        for name, optimiser in self._optimisers.items():
            moments = checkpoint.optimiser_tensors(optimiser, self._modules[name])
            tensors |= {f"optimiser/{name}/{key}": tensor for key, tensor in moments.items()}
        if self._average is not None:
            tensors |= {f"average/{name}": tensor for name, tensor in self._average.tensors.items()}
        return tensors

    def restore(self, path: Path, device: torch.device) -> checkpoint.Checkpoint:
        """Take everything from a checkpoint, and return it.

        Raises:
            CheckpointError: it is damaged, or of another model.
        """
        saved = checkpoint.read(path, device)
        try:
            self._model.load_state_dict(saved.under("model"))
            for name, optimiser in self._optimisers.items():
                checkpoint.restore_optimiser(optimiser, self._modules[name], saved.under(f"optimiser/{name}"))
            if self._average is not None:
                self._average.load(saved.under("average"))
        except (RuntimeError, KeyError) as error:
            raise CheckpointError(
                f"the checkpoint {path} does not fit the model of this recipe: {error}. "
                "It was written by other code or another plugin version; give another --out to train anew."
            ) from error
        return saved
