"""Figure 12: images of a category that was learned without labels, with a learned and a fixed prior."""

from __future__ import annotations

from genprior import RecipeRows
from genprior_std.figures.label_columns import LabelColumns

__all__ = ["UnsupervisedGrid"]


class UnsupervisedGrid(LabelColumns):
    """Images of each category learned without labels (columns) under the same noise (rows), fixed and learned prior.

    "Learning priors for adversarial autoencoders", journal version, figure 12, section 4.2.2.
    """

    name = "fig12_unsupervised"
    shows = "category"
    recipes = (RecipeRows("recipes/fig12_unsupervised.toml", ("fixed prior", "learned prior")),)
