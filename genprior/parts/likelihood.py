"""Models of which log p(x) can be bounded and estimated: what they infer about images, and with which densities."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor

from genprior.parts.models import Model
from genprior.parts.values import Batch

__all__ = ["Draws", "Inference", "LikelihoodModel"]


class Draws(NamedTuple):
    """Codes z ~ q(z | x), s for each of n images, with their three log-densities in nats.

    The codes of a model with several levels stand side by side in z.
    """

    z: Tensor
    """[s, n, d]."""
    log_likelihood: Tensor
    """log p(x | z), [s, n]."""
    log_prior: Tensor
    """log p(z), [s, n]."""
    log_posterior: Tensor
    """log q(z | x), [s, n]."""

    @property
    def log_weight(self) -> Tensor:
        """The importance weights, log p(x, z) - log q(z | x), [s, n]: their exponentials have the mean p(x)."""
        return self.log_likelihood + self.log_prior - self.log_posterior


class Inference(ABC):
    """What a model infers about the n images of a batch; the encoder runs once, when this is made."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """The mean of q(z | x) [n, d]; of a model with several levels, each level's mean given those above."""

    @abstractmethod
    def draw(self, samples: int) -> Draws:
        """Draw `samples` codes for each image, differentiably, and give their densities."""

    @abstractmethod
    def log_posterior(self, z: Tensor) -> Tensor:
        """The natural logarithm of q(z_j | x_i) of every code with every image: [m, n] for z [m, d]."""


class LikelihoodModel(Model):
    """A model of p(x, z) with an inference network q(z | x), whose three densities can all be computed."""

    @property
    def normalised(self) -> bool:
        """Whether log p(x | z) is exact, so that log p(x) can be estimated, and not only but for a constant."""
        return True

    @property
    def density(self) -> bool:
        """Whether p(x | z) is a density of pixels in [-1, 1]; else it is a probability of their levels."""
        return False

    @abstractmethod
    def infer(self, batch: Batch) -> Inference:
        """What is inferred about the images of `batch`.

        Raises:
            PlanError: the encoder's posterior has no density.
        """
