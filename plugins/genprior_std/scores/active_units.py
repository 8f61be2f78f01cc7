"""Active units: the coordinates of the code that depend on the image."""

from __future__ import annotations

import torch
from pydantic import Field

from genprior import Column, PartConfig, Score, ScoreContext
from genprior_std.scores.likelihood import infer_in_blocks, likelihood_model

__all__ = ["ActiveUnits"]


class ActiveUnits(Score):
    """The number of coordinates u of the code with Var_x(E_q(z | x)[z_u]) > threshold; higher is better.

    A coordinate whose posterior mean hardly moves with the image is not used. The variance is that over the test
    images, with 1/n. Writes `active_units`, from 0 to the width of the code; of a model with several levels, all
    levels count together.

    References:
        Burda et al., Importance Weighted Autoencoders, 2016, section 5.2, https://arxiv.org/abs/1509.00519
    """

    name = "active_units"
    higher_is_better = True
    at_most = ("images",)

    class Config(PartConfig):
        """The threshold of an active coordinate, and the number of images."""

        threshold: float = Field(default=0.01, ge=0, allow_inf_nan=False)
        """The variance above which a coordinate is active, in squared units of the code."""
        images: int | None = Field(default=None, ge=1)
        """The largest number of test images, chosen under a fixed seed; all if not given."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of tables."""
        return (Column("active_units", "active units", True),)

    def measure(self, context: ScoreContext) -> dict[str, float]:
        """The number of active coordinates.

        Raises:
            ScoreError: the model's densities are not known.
        """
        with likelihood_model(context, prior=False) as model:
            means = [inference.mean.double() for inference in infer_in_blocks(context, model, self.config.images)]
            variance = torch.cat(means).var(0, correction=0)
        return {"active_units": float((variance > self.config.threshold).sum())}
