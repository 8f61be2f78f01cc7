"""Figure 8: an adversarial autoencoder and the proposed model with a small code."""

from __future__ import annotations

from genprior import RecipeRows
from genprior_std.figures.side_by_side import SideBySide

__all__ = ["SmallCodes"]


class SmallCodes(SideBySide):
    """Samples of an adversarial autoencoder and of the proposed model, whose codes are small.

    "Learning priors for adversarial autoencoders", journal version, figure 8 (codes of 8 numbers for MNIST and of 64
    for CIFAR-10).
    """

    name = "fig8_codes"
    recipes = (RecipeRows("recipes/fig8_codes.toml", ("AAE", "proposed")),)
