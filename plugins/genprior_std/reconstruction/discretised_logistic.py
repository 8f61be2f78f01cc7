"""The likelihood of bytes under a logistic density that is cut into 256 bins."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from genprior import PartConfig, Reconstruction, Sizes
from genprior_std.layers.logistic import FLOOR, negative_log_probability
from genprior_std.layers.spread import Spread, SpreadForm

__all__ = ["DiscretisedLogistic"]


class DiscretisedLogistic(Reconstruction):
    """-log P(x | x_rec) of bytes under a logistic density with mean x_rec and scale s, in 256 bins: [n] >= 0.

        P(x) = sigmoid((x + 1/255 - x_rec) / s) - sigmoid((x - 1/255 - x_rec) / s)

    The bins are centred on the 256 bytes k, at x = 2 k / 255 - 1, and are 2/255 wide; those of byte 0 and byte 255
    include the tails, so that the 256 probabilities add up to one for every mean and scale. Between two bytes x has the
    probability of the interval around it. In nats: per image with reduction "sum", which a likelihood bound needs, per
    pixel with "mean"; the latter divided by log 2 is bits per dimension. The scale, in units of the [-1, 1] scale, is
    fixed, or a parameter that is initialised at `scale` and trained by the loss that contains this error.

    Source: Tomczak and Welling, "VAE with a VampPrior" (grey and colour images); Kingma et al., "Improving variational
    inference with inverse autoregressive flow". This differs from the code of the former, which takes the interval of
    width 1/256 that begins at floor(256 x) / 256, for pixels x in [0, 1], includes no tails, and adds 1e-7 to each
    probability, so that they do not add up to one; bins here are those of bytes. There the network gives each pixel of
    each image a scale of its own; here all images share it.
    """

    name = "discretised_logistic"

    class Config(PartConfig):
        """Settings of the discretised logistic likelihood."""

        scale: float = Field(default=0.1, gt=FLOOR, allow_inf_nan=False)
        """The scale s, or the initial value of a learned one; the standard deviation is s pi / sqrt(3)."""
        learned: SpreadForm = "shared"
        """Whether the scale is fixed, or learned: one for all pixels, one per channel or one per pixel."""
        reduction: Literal["mean", "sum"] = "sum"
        """How the errors of an image's pixels are reduced; the batch dimension remains."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the scale."""
        super().__init__(config, sizes)
        self._scale = Spread(self.config.learned, self.config.scale, FLOOR, sizes.image)

    @classmethod
    def sums(cls, config: Any) -> bool:
        """With reduction "sum"."""
        return bool(config.reduction == "sum")

    @classmethod
    def likelihood_of(cls, config: Any) -> Literal["levels"]:
        """The probability of bytes."""
        return "levels"

    @property
    def normalised(self) -> bool:
        """Whether it is exactly a likelihood: the sum over pixels is."""
        return bool(self.config.reduction == "sum")

    def forward(self, x: Tensor, x_rec: Tensor, known: Tensor) -> Tensor:
        """The error [n] of means x_rec [n, c, h, w] of images x in [-1, 1], both in that scale; `known` is not used."""
        # Half precision cannot tell bytes apart.
        dtype = torch.promote_types(x_rec.dtype, torch.float32)
        x, x_rec = x.to(dtype), x_rec.to(dtype)
        log_scale = self._scale.log(x_rec)
        error = negative_log_probability(x, x_rec, log_scale).flatten(1)
        return error.mean(1) if self.config.reduction == "mean" else error.sum(1)
