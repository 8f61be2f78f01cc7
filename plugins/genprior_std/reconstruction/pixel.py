"""Errors that compare images pixel by pixel."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from genprior.parts import PartConfig, Reconstruction

__all__ = ["Pixel"]

MARGIN = 1e-6


class Pixel(Reconstruction):
    """An error of each pixel, averaged or summed over the c h w pixels of an image: [n].

        squared:    (x - x_rec)^2
        absolute:   |x - x_rec|
        bernoulli:  -t log p - (1 - t) log(1 - p),  t = (x + 1) / 2 in [0, 1],  p = (x_rec + 1) / 2 in [m, 1 - m]
        gaussian:   -log N(x; x_rec, sigma^2) = (x - x_rec)^2 / (2 sigma^2) + log(sigma sqrt(2 pi))

    The first three are never negative. `gaussian` is the exact negative log-likelihood, and so is negative for good
    reconstructions when sigma < 1 / sqrt(2 pi). `bernoulli` and `gaussian` are in nats: of an image with
    reduction "sum", which a likelihood bound needs, of a pixel with "mean". `bernoulli` clamps p to [m, 1 - m] with
    m = 1e-6, so an error of one pixel is at most -log m = 13.8 nats, and pixels beyond the clamp pass no gradient.

    Source: "Learning priors for adversarial autoencoders", equation 1 (gaussian).
    """

    name = "pixel"

    class Config(PartConfig):
        """Settings of the pixel-wise error."""

        metric: Literal["squared", "absolute", "bernoulli", "gaussian"] = "squared"
        """The error of one pixel."""
        reduction: Literal["mean", "sum"] = "mean"
        """What is done over the pixels of an image; the batch dimension is left."""
        sigma: float = Field(default=1.0, gt=0, allow_inf_nan=False)
        """Standard deviation of a pixel, in units of the [-1, 1] scale; for `gaussian` alone."""

    def forward(self, x: Tensor, x_rec: Tensor, known: Tensor) -> Tensor:
        """The error [n] of reconstructions x_rec [n, c, h, w] of images x, both in [-1, 1]; `known` is not used."""
        # Half precision cannot hold 1 - m, nor a sum over thousands of pixels.
        dtype = torch.promote_types(x_rec.dtype, torch.float32)
        error = self._error(x.to(dtype), x_rec.to(dtype)).flatten(1)
        return error.mean(1) if self.config.reduction == "mean" else error.sum(1)

    def _error(self, x: Tensor, x_rec: Tensor) -> Tensor:
        if self.config.metric == "squared":
            return (x - x_rec).square()
        if self.config.metric == "absolute":
            return (x - x_rec).abs()
        if self.config.metric == "gaussian":
            sigma: float = self.config.sigma
            return 0.5 * ((x - x_rec) / sigma).square() + (math.log(sigma) + 0.5 * math.log(2 * math.pi))
        t = (0.5 * (x + 1)).clamp(0, 1)
        p = (0.5 * (x_rec + 1)).clamp(MARGIN, 1 - MARGIN)
        return -(t * p.log() + (1 - t) * (1 - p).log())
