"""Figure 7: samples of GANs and of the proposed model."""

from __future__ import annotations

from pydantic import Field

from genprior import RecipeRows
from genprior_std.figures.side_by_side import SideBySide

__all__ = ["SamplesOfGans"]


class SamplesOfGans(SideBySide):
    """Samples of GANs beside those of the proposed model.

    "Learning priors for adversarial autoencoders", journal version, figure 7.
    """

    name = "fig7_gans"
    recipes = (
        RecipeRows(
            "recipes/table2_gans.toml",
            ("DCGAN", "LSGAN", "WGAN-GP plain", "BEGAN", "DFM", "CatGAN", "DCGAN + learned prior", "proposed"),
        ),
    )

    class Config(SideBySide.Config):
        """What the grids hold."""

        grid: int = Field(default=8, ge=1)
        """How many rows and columns of images for each run."""
