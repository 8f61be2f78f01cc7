"""Figure 10: images of a label, with a learned and a fixed prior."""

from __future__ import annotations

from genprior import RecipeRows
from genprior_std.figures.label_columns import LabelColumns

__all__ = ["SupervisedGrid"]


class SupervisedGrid(LabelColumns):
    """Images of each label (columns) under the same noise (rows), with a fixed and with a learned prior.

    "Learning priors for adversarial autoencoders", journal version, figure 10, section 4.2.1.
    """

    name = "fig10_supervised"
    recipes = (RecipeRows("recipes/fig10_supervised.toml", ("fixed prior", "learned prior")),)
