"""Models whose log p(x) can be bounded and estimated: inference of codes, with all densities."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor

from genprior.parts.models import Model
from genprior.parts.values import Batch

__all__ = ["Draws", "Inference", "LikelihoodModel"]


class Draws(NamedTuple):
    """Codes z ~ q(z | x), s for each of n images, with their three log-densities in nats.

    The codes of a model with several levels are concatenated in z.
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
    """The inferred codes q(z | x) of the n images of a batch; the encoder runs once, on construction."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """The mean of q(z | x) [n, d]; for a model with several levels, each level's mean given the levels above."""

    @abstractmethod
    def draw(self, samples: int) -> Draws:
        """Draw `samples` codes for each image, differentiably, with their densities."""

    @abstractmethod
    def log_posterior(self, z: Tensor) -> Tensor:
        """The natural logarithm of q(z_j | x_i) for every code and every image: [m, n] for z [m, d]."""


class LikelihoodModel(Model):
    """A model of p(x, z) with an inference network q(z | x), whose three densities can all be computed."""

    @property
    def normalised(self) -> bool:
        """Whether log p(x | z) is exact, so that log p(x) can be estimated without an unknown constant."""
        return True

    @property
    def prior_normalised(self) -> bool:
        """Whether log p(z) is exact; else it is a surrogate with its gradients, and no score can use its numbers."""
        return True

    @property
    def density(self) -> bool:
        """Whether p(x | z) is a density of pixels in [-1, 1]; else it is a probability of their levels."""
        return False

    @abstractmethod
    def infer(self, batch: Batch) -> Inference:
        """Infer the codes of the images of `batch`.

        Raises:
            PlanError: the encoder's posterior has no density.
        """
