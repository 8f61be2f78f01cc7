"""Errors that compare images pixel by pixel."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional

from genprior import PartConfig, Reconstruction, Sizes
from genprior_std.layers.spread import Spread, SpreadForm

__all__ = ["Pixel"]

MARGIN = 1e-6
FLOOR = 1e-3
"""The lower bound of a learned sigma; half of 2 / 255 / sqrt(12), the error of rounding images to bytes."""


class Pixel(Reconstruction):
    """An error of each pixel, averaged or summed over the c h w pixels of an image: [n].

        squared:    (x - x_rec)^2
        absolute:   |x - x_rec|
        bernoulli:  -t log p - (1 - t) log(1 - p),  t = (x + 1) / 2 in [0, 1],  p = (x_rec + 1) / 2 in [m, 1 - m]
        gaussian:   -log N(x; x_rec, sigma^2) = (x - x_rec)^2 / (2 sigma^2) + log(sigma sqrt(2 pi))

    The first three are never negative. `gaussian` is the exact negative log-likelihood, and so is negative for good
    reconstructions when sigma < 1 / sqrt(2 pi). `bernoulli` and `gaussian` are in nats: per image with reduction "sum",
    which a likelihood bound needs, per pixel with "mean". `bernoulli` clamps p to [m, 1 - m] with m = 1e-6, so an error
    of one pixel is at most -log m = 13.8 nats, and pixels beyond the clamp pass no gradient. Its relative error is that
    of rounding for every p, also where p, 1 - p or the error itself is small.

    The sigma of `gaussian` is a number, or with `variance` a parameter that is initialised there: one for all pixels,
    one per channel or one per pixel. The loss that contains this error trains it, towards the root mean square of x -
    x_rec over the pixels that share it, but not below 1e-3: the density of a pixel that is always exact has no maximum.

    Source: "Learning priors for adversarial autoencoders", equation 1 (gaussian).
    """

    name = "pixel"

    class Config(PartConfig):
        """Settings of the pixel-wise error."""

        metric: Literal["squared", "absolute", "bernoulli", "gaussian"] = "squared"
        """The error of one pixel."""
        reduction: Literal["mean", "sum"] = "mean"
        """How the errors of an image's pixels are reduced; the batch dimension remains."""
        sigma: float = Field(default=1.0, gt=0, allow_inf_nan=False)
        """Standard deviation of a pixel, in units of the [-1, 1] scale; only for `gaussian`."""
        variance: SpreadForm = "fixed"
        """Whether sigma is fixed, or learned: one for all pixels, one per channel or per pixel; only for `gaussian`."""

        @model_validator(mode="after")
        def _check_variance(self) -> Self:
            """Refuse a learned sigma where there is none, or one below the floor."""
            if self.variance != "fixed" and self.metric != "gaussian":
                raise ValueError(
                    f"variance = \"{self.variance}\" learns the sigma of metric 'gaussian'; metric '{self.metric}' has "
                    'none. Set metric = "gaussian", or variance = "fixed"'
                )
            if self.variance != "fixed" and self.sigma <= FLOOR:
                raise ValueError(
                    f"a learned sigma stays above {FLOOR}, and sigma = {self.sigma} is its initial value. "
                    'Set sigma above that, or variance = "fixed"'
                )
            return self

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the sigma, if it is learned."""
        super().__init__(config, sizes)
        self._sigma = Spread(self.config.variance, self.config.sigma, FLOOR, sizes.image)

    @classmethod
    def sums(cls, config: Any) -> bool:
        """With reduction "sum"."""
        return bool(config.reduction == "sum")

    @classmethod
    def likelihood_of(cls, config: Any) -> Literal["binary", "real"] | None:
        """Of binary pixels with metric `bernoulli`, a density with `gaussian`; None for the others."""
        likelihoods: dict[str, Literal["binary", "real"]] = {"bernoulli": "binary", "gaussian": "real"}
        return likelihoods.get(config.metric)

    @property
    def normalised(self) -> bool:
        """Whether it is exactly a likelihood: the sum of `gaussian`, or of `bernoulli` where pixels are -1 or 1."""
        return self.config.reduction == "sum" and self.config.metric in ("gaussian", "bernoulli")

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
            log_sigma = self._sigma.log(x_rec)
            return 0.5 * ((x - x_rec) * (-log_sigma).exp()).square() + (log_sigma + 0.5 * math.log(2 * math.pi))
        error: Tensor = _Bernoulli.apply(x.clamp(-1, 1), x_rec)
        return error


class _Bernoulli(torch.autograd.Function):
    """-t log p - (1 - t) log(1 - p) of x = 2 t - 1 and x_rec = 2 p - 1, with the gradient in closed form.

        d error / d x_rec = (x_rec - x) / ((1 - x_rec)(1 + x_rec)),    d error / d x = -artanh x_rec

    From p in single precision 1 - p is off by 3% where it is 1e-6, and so is -log p. The smaller of p and 1 - p,
    (1 - |x_rec|) / 2, is exact instead, and log1p of its negative is the other logarithm. Autograd would keep and pass
    over a tensor for each step of this.
    """

    @staticmethod
    def forward(x: Tensor, x_rec: Tensor) -> Tensor:
        # `_logarithms` in place: this is most of the cost of a likelihood, and nothing of it is kept for the gradient.
        less = x_rec.abs().mul_(-0.5).add_(0.5).clamp_(min=MARGIN)
        log_more = less.neg().log1p_()
        # The target's weight of the smaller; at x_rec = 0 both logarithms are equal, so any weight will do, here 1/2.
        weight = x_rec.sign().mul_(x).mul_(-0.5).add_(0.5)
        return log_more.lerp_(less.log_(), weight).neg_()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, x_rec = ctx.saved_tensors
        to_x = to_rec = None
        if ctx.needs_input_grad[0]:
            log_less, log_more = _logarithms(x_rec)
            to_x = gradient * (log_less - log_more) * (0.5 * x_rec.sign())
        if ctx.needs_input_grad[1]:
            size = x_rec.abs()
            # Beyond the clamp `room` is infinite, so the slope is zero. Dividing twice keeps the second derivative free
            # of 0 inf, and a threshold is ten times as fast as a mask and lets nan through.
            room = functional.threshold(1 - size, 2 * MARGIN, math.inf)
            to_rec = gradient * ((x_rec - x) / room / (1 + size))
        return to_x, to_rec


def _logarithms(x_rec: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithms of min(p, 1 - p) and max(p, 1 - p), of p = (x_rec + 1) / 2, clamped to [m, 1 - m]."""
    less = torch.sub(x_rec.new_full((), 0.5), x_rec.abs(), alpha=0.5).clamp(min=MARGIN)
    return less.log(), (-less).log1p()
