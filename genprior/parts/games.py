"""Adversarial games."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor

from genprior.parts.base import ModulePart

__all__ = ["Game"]


class Game(ModulePart, ABC):
    """An adversarial game, stated as losses to minimise, on logits.

    A sample is a pair (x, known). `critic` is called as `critic(x, known)`; both losses get the same critic and the
    same tensors, so that a model can let them share one forward pass (see `genprior.remember`).
    """

    kind = "game"

    @abstractmethod
    def critic_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The scalar that the critic descends: high on `real`, low on each of `fakes`."""

    @abstractmethod
    def generator_loss(self, critic: Callable[[Tensor, Tensor], Tensor], *fakes: tuple[Tensor, Tensor]) -> Tensor:
        """The scalar that the module which makes `fakes` descends."""

    def own_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor | None:
        """The scalar that the game's own parameters descend; None for a game without parameters."""
        return None

    def advance(self) -> Callable[[], None] | None:
        """The function that updates the game's state from the last inputs of its losses; None without state.

        A model passes it to the engine in the `updates` of `Objectives`, under the game's name.
        """
        return None

    def notes(self) -> dict[str, Tensor]:
        """Scalars to record, by name, computed from the last inputs of the losses."""
        return {}
