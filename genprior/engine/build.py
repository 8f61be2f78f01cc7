"""Builds models: each part is built under its own seed and can borrow modules that were built before it."""

from __future__ import annotations

from torch import nn

from genprior.errors import PlanError
from genprior.parts import Borrowed, Build, DataInfo, Model, PartConfig, Sizes
from genprior.randomness import seeded

__all__ = ["Builder", "build_model"]


class Builder(Build):
    """Builds the parts of one model.

    Each part is built under (run seed, role), so two rows that share a part start from the same weights.
    """

    def __init__(self, model: str, seed: int) -> None:
        """Build parts for the model of this name under the run's seed."""
        self._model = model
        self._seed = seed
        self._made: dict[str, nn.Module] = {}

    def __call__(self, role: str, config: PartConfig, sizes: Sizes) -> nn.Module:
        """Build the part that `config` describes for `role`.

        Raises:
            PlanError: the part borrows the module of a role that has not been built before.
        """
        part = config.part
        missing = [name for name in part.borrows if name not in self._made]
        if missing:
            raise PlanError(
                f"{part.kind} '{part.name}' borrows '{missing[0]}', which model '{self._model}' does not lend here. "
                f"It lends: {', '.join(self._made) or 'nothing'}. Choose another {part.kind} or another model."
            )
        with seeded(self._seed, role):
            made: nn.Module = config.make(sizes, **{name: Borrowed(self._made[name]) for name in part.borrows})
        self._made[role] = made
        return made


def build_model(config: PartConfig, info: DataInfo, seed: int) -> Model:
    """The model that `config` describes, for data of the form `info`, with weights initialised under `seed`.

    Raises:
        PlanError: its parts do not fit each other or the data.
    """
    model: Model = config.make(info, Builder(config.name, seed))
    return model
