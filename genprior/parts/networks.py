"""Encoders, decoders and critics, and the posteriors that encoders return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from torch import Tensor

from genprior.parts.base import ModulePart
from genprior.parts.support import Support

__all__ = [
    "AutoregressiveDecoder",
    "CategoricalPosterior",
    "Critic",
    "Decoder",
    "DensityPosterior",
    "Encoder",
    "FeatureCritic",
    "PointPosterior",
    "Posterior",
]


class Posterior(ABC):
    """A distribution of codes given images, q(z | x)."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """The mean code [n, d]."""

    @abstractmethod
    def rsample(self) -> Tensor:
        """A code [n, d] for each image, differentiable in the encoder's parameters."""


class DensityPosterior(Posterior):
    """A posterior whose density can be computed."""

    support: ClassVar[Support] = "space"
    """Where the codes lie: "space", all of R^d, or "unit_sphere", the unit sphere, with a density per surface."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """The natural logarithm of q(z | x): [n] for z [n, d]."""


class PointPosterior(Posterior):
    """A deterministic encoder's posterior: all mass on one code."""

    def __init__(self, z: Tensor) -> None:
        """Put all mass on `z` [n, d]."""
        self._z = z

    @property
    def mean(self) -> Tensor:
        """The code itself."""
        return self._z

    def rsample(self) -> Tensor:
        """The code itself."""
        return self._z


class CategoricalPosterior(Posterior):
    """A posterior whose codes are soft categories: K positive numbers that sum to 1."""

    @property
    @abstractmethod
    def log_mean(self) -> Tensor:
        """The natural logarithm of the soft category, [n, K], whose gradient does not vanish near 0."""


class Encoder(ModulePart, ABC):
    """Maps images to a posterior over codes."""

    kind = "encoder"

    @classmethod
    def posterior_of(cls, config: Any) -> type[Posterior]:
        """The class of posterior that an encoder with these settings returns, so that models can refuse it when built.

        `Posterior` itself, the default, leaves it open: a model then checks at the first batch.
        """
        return Posterior

    @classmethod
    def sees_known(cls, config: Any) -> bool:
        """Whether an encoder with these settings uses `known` where k > 0; True by default."""
        return True

    @abstractmethod
    def forward(self, x: Tensor, known: Tensor) -> Posterior:
        """q(z | x, known) for images x [n, c, h, w] in [-1, 1] and known [n, k]."""


class Decoder(ModulePart, ABC):
    """Maps codes to images."""

    kind = "decoder"

    @classmethod
    def sees_known(cls, config: Any) -> bool:
        """Whether a decoder with these settings uses `known` where k > 0; True by default."""
        return True

    @abstractmethod
    def forward(self, z: Tensor, known: Tensor) -> Tensor:
        """Images [n, c, h, w] in [-1, 1] from codes z [n, d] and known [n, k]."""


class AutoregressiveDecoder(Decoder):
    """A decoder that computes the exact likelihood of an image given its code."""

    @classmethod
    def likelihood_of(cls, config: Any) -> Literal["binary", "levels", "real"] | None:
        """The pixels of which `log_prob` with these settings is a likelihood, so that models can refuse other images.

        "binary": of pixels that are -1 or 1. "levels": of the 256 levels 2 k / 255 - 1. "real": a density. None, the
        default, leaves it open.
        """
        return None

    @abstractmethod
    def log_prob(self, x: Tensor, z: Tensor, known: Tensor) -> Tensor:
        """The natural logarithm of p(x | z, known): [n]."""


class Critic(ModulePart, ABC):
    """A score [n] of codes [n, d] or of images [n, c, h, w]: a logit, high for what looks like the positive samples."""

    kind = "critic"

    @classmethod
    def sees_known(cls, config: Any) -> bool:
        """Whether a critic with these settings uses `known` where k > 0; True by default."""
        return True

    @abstractmethod
    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Logits [n] of x, which is codes [n, d] or images [n, c, h, w], with known [n, k]."""


class FeatureCritic(Critic):
    """An image critic whose features can be borrowed, by a learned similarity or by the head of a conditioner."""

    @property
    @abstractmethod
    def feature_layers(self) -> tuple[str, ...]:
        """The names of the layers whose output `features` can return, from the image to the logit."""

    @abstractmethod
    def features(self, x: Tensor, known: Tensor, layer: str) -> Tensor:
        """The feature map F(x) after the named layer (with its normalisation and activation), flattened: [n, f].

        Computes no layer beyond the named one.
        """

    @abstractmethod
    def trunk(self, x: Tensor, known: Tensor) -> Tensor:
        """The input of the critic's last layer, which an auxiliary head can share: [n, t]."""

    @property
    @abstractmethod
    def trunk_width(self) -> int:
        """t, the width of `trunk`."""
