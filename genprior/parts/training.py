"""What a model trains with: an error of reconstructions, a condition, an adversarial game."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor

from genprior.errors import PlanError
from genprior.parts.base import ModulePart
from genprior.parts.values import Batch, Condition, DataInfo, Widths

__all__ = ["Conditioner", "Game", "Reconstruction"]


class Reconstruction(ModulePart, ABC):
    """How far a reconstruction is from its image."""

    kind = "reconstruction"

    @classmethod
    def sums(cls, config: Any) -> bool:
        """Whether the error of these settings is a sum over the whole image, as a bound of log p(x) needs it.

        The default says so; an average, which a part usually offers as `reduction = "mean"`, has to say that it is not.
        """
        return True

    @classmethod
    def likelihood_of(cls, config: Any) -> Literal["binary", "levels", "real"] | None:
        """Which pixels the error of these settings is a likelihood of; None, the default, where it does not say.

        "binary": the probability of pixels that are -1 or 1. "levels": that of the 256 levels 2 k / 255 - 1. "real": a
        density on [-1, 1].
        """
        return None

    @property
    def normalised(self) -> bool:
        """Whether the error is exactly -log p(x | x_rec) in nats, of a density or probability of whole images."""
        return False

    @abstractmethod
    def forward(self, x: Tensor, x_rec: Tensor, known: Tensor) -> Tensor:
        """The error [n] of each reconstruction x_rec [n, c, h, w] of x; its class says what is reduced, and how."""


class Conditioner(ModulePart, ABC):
    """What is told about images and asked of new ones."""

    kind = "conditioner"

    @classmethod
    @abstractmethod
    def widths(cls, config: Any, info: DataInfo) -> Widths:
        """The widths of the condition, known before any module exists.

        Raises:
            PlanError: the data has not what this conditioner needs (labels, for example).
        """

    @abstractmethod
    def forward(self, batch: Batch) -> Condition:
        """The condition of a training batch."""

    @abstractmethod
    def draw(self, like: Tensor) -> Condition:
        """A condition drawn for new images, one for each row of `like` (any tensor of the right device and length)."""

    def of_label(self, y: Tensor) -> Condition:
        """The condition that asks for images of class y [n].

        Raises:
            PlanError: this conditioner asks for no class.
        """
        raise PlanError(f"conditioner '{self.name}' asks for no label; sample without one, or train with 'label'")

    def clusters(self, x: Tensor) -> Tensor | None:
        """How likely each of K categories that could be asked is for images x, [n, K]; None where none is read."""
        return None

    def consistency(self, x: Tensor, asked: Tensor) -> Tensor:
        """E[-log Q(asked | x)], a scalar in nats: how badly images x show what was asked of them. 0 by default."""
        return x.new_zeros(())


class Game(ModulePart, ABC):
    """An adversarial game, stated as losses to minimise, on logits.

    A sample is a pair (x, known). `critic` is called as `critic(x, known)`; both losses are given the same critic and
    the same tensors, so that a model may let them share one forward pass (see `genprior.engine.step.remember`).
    """

    kind = "game"

    @abstractmethod
    def critic_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The scalar that the critic descends: high on `real`, low on each of `fakes`."""

    @abstractmethod
    def generator_loss(self, critic: Callable[[Tensor, Tensor], Tensor], *fakes: tuple[Tensor, Tensor]) -> Tensor:
        """The scalar that whoever made `fakes` descends."""

    def own_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor | None:
        """The scalar that the game's own parameters descend beside the critic; None where it has no parameters."""
        return None

    def advance(self) -> Callable[[], None] | None:
        """What brings the game's own state on, from what its losses saw last; None without state.

        A model gives it to the engine among the `updates` of `Objectives`, under the game's name.
        """
        return None

    def notes(self) -> dict[str, Tensor]:
        """Scalars to record of what the losses saw last, by name."""
        return {}
