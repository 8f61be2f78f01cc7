"""Figure 11: codes of the supervised models."""

from __future__ import annotations

from genprior import RecipeRows
from genprior_std.figures.code_maps import CodeMaps

__all__ = ["SupervisedCodes"]


class SupervisedCodes(CodeMaps):
    """t-SNE of the encoder's codes by true label and of the prior's by requested label; fixed and learned prior.

    "Learning priors for adversarial autoencoders", journal version, figure 11, section 4.2.1.
    """

    name = "fig11_codes"
    recipes = (RecipeRows("recipes/fig10_supervised.toml", ("fixed prior", "learned prior")),)
