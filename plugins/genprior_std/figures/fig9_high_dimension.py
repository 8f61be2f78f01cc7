"""Figure 9: an adversarial autoencoder and the proposed model with a large code."""

from __future__ import annotations

from genprior import RecipeRows
from genprior_std.figures.side_by_side import SideBySide

__all__ = ["LargeCodes"]


class LargeCodes(SideBySide):
    """Samples of an adversarial autoencoder and of the proposed model, whose codes are large.

    "Learning priors for adversarial autoencoders", journal version, figure 9 (codes of 100 numbers for MNIST and of
    2,000 for CIFAR-10).
    """

    name = "fig9_high_dimension"
    recipes = (RecipeRows("recipes/fig9_high_dimension.toml", ("AAE", "proposed")),)
