"""Base class of models whose likelihood of images is a reconstruction part."""

from __future__ import annotations

from typing import Any

from genprior import DensityPrior, LikelihoodModel

__all__ = ["ReconstructionLikelihood"]


class ReconstructionLikelihood(LikelihoodModel):
    """A model of p(x, z) whose reconstruction part is -log p(x | z)."""

    reconstruction: Any

    @property
    def normalised(self) -> bool:
        """Whether the reconstruction is exactly -log p(x | z)."""
        return bool(self.reconstruction.normalised)

    @property
    def prior_normalised(self) -> bool:
        """Whether the prior of new codes has a density: it has none if it is an energy, or can only be sampled."""
        return isinstance(self.code_prior, DensityPrior)

    @property
    def density(self) -> bool:
        """Whether it is a density of real pixels in [-1, 1]."""
        return bool(self.reconstruction.likelihood_of(self.reconstruction.config) == "real")
