"""Adversarial games."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor

from genprior.errors import PluginError
from genprior.parts.base import ModulePart

__all__ = ["Game"]


class Game(ModulePart, ABC):
    """An adversarial game, stated as losses to minimise, on logits.

    A sample is a pair (x, known). `critic` is called as `critic(x, known)`; both losses get the same critic and the
    same tensors, so that a model can let them share one forward pass (see `genprior.remember`).
    """

    kind = "game"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a `generator_loss` that would take the real samples for fakes.

        Raises:
            PluginError: it has the signature `(critic, *fakes)` of version 0.1.
        """
        super().__init_subclass__(**kwargs)
        arguments = list(inspect.signature(cls.generator_loss).parameters.values())[2:3]  # after self and critic
        if arguments and arguments[0].kind is inspect.Parameter.VAR_POSITIONAL:
            raise PluginError(
                f"game '{cls.name}' ({cls.__module__}.{cls.__qualname__}) has generator_loss(critic, *fakes), which "
                "would take the real samples for fakes: the real samples come first, as in critic_loss. Write "
                "generator_loss(critic, real, *fakes), and ignore `real` if the loss does not need it"
            )

    @abstractmethod
    def critic_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The scalar that the critic descends: high on `real`, low on each of `fakes`."""

    @abstractmethod
    def generator_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The scalar that the module which makes `fakes` descends: high where `fakes` look unlike `real`.

        Most games ignore `real`; a relativistic one compares the scores of both. `real` and each of `fakes` have the
        same number of samples.
        """

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
