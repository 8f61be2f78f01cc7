"""Figure 13: codes of the unsupervised models."""

from __future__ import annotations

from genprior import RecipeRows
from genprior_std.figures.code_maps import CodeMaps

__all__ = ["UnsupervisedCodes"]


class UnsupervisedCodes(CodeMaps):
    """t-SNE of the encoder's codes by true label and of the prior's by requested category; fixed and learned prior.

    "Learning priors for adversarial autoencoders", journal version, figure 13, section 4.2.2.
    """

    name = "fig13_codes"
    recipes = (RecipeRows("recipes/fig12_unsupervised.toml", ("fixed prior", "learned prior")),)
