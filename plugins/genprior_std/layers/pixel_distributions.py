"""Distributions of one colour of one pixel: over black and white, or over the 256 bytes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from genprior_std.layers.logistic import FLOOR, negative_log_probability

__all__ = ["Bernoulli", "DiscreteLogistic", "PixelDistribution", "PixelForm", "Softmax", "distribution_of"]

PixelForm = Literal["bernoulli", "softmax", "discretised_logistic"]
"""The names of the distributions."""
START = 0.1
"""The scale of a logistic density where the network outputs zero."""


class PixelDistribution(ABC):
    """A distribution of a pixel's colour, with `count` parameters: outputs of a network, along dimension 2.

    The parameters are called `numbers`; probabilities have their dtype, which must be at least single precision.
    """

    count: int
    """m, the parameters of one distribution."""

    @abstractmethod
    def nearest(self, x: Tensor) -> Tensor:
        """Round x to the nearest possible pixels, in [-1, 1]."""

    @abstractmethod
    def log_prob(self, x: Tensor, numbers: Tensor) -> Tensor:
        """The log-probability [n, c, h, w] in nats of possible pixels x [n, c, h, w], with numbers [n, c, m, h, w]."""

    @abstractmethod
    def draw(self, numbers: Tensor, uniforms: Tensor) -> Tensor:
        """The pixels [n, c, h, w] at which the cumulative distribution passes uniforms [n, c, h, w] in [0, 1).

        Args:
            numbers: [n, c, m, h, w].
            uniforms: independent and uniform, for pixels that follow the distribution.
        """


class Bernoulli(PixelDistribution):
    """Black, -1, or white, +1: P(white) = sigmoid(l) with one logit l."""

    count = 1

    def nearest(self, x: Tensor) -> Tensor:
        """1 where x > 0, else -1."""
        return 2 * (x > 0).to(x.dtype) - 1

    def log_prob(self, x: Tensor, numbers: Tensor) -> Tensor:
        """The log-probability, as in the base class."""
        logits = numbers.squeeze(2)
        return -functional.binary_cross_entropy_with_logits(logits, (x > 0).to(logits.dtype), reduction="none")

    def draw(self, numbers: Tensor, uniforms: Tensor) -> Tensor:
        """White where the uniform number is below P(white); as in the base class."""
        return 2 * (uniforms < numbers.squeeze(2).sigmoid()).to(uniforms.dtype) - 1


class _Bytes(PixelDistribution):
    """A distribution over the bytes k = 0 .. 255, which are pixels 2 k / 255 - 1."""

    def nearest(self, x: Tensor) -> Tensor:
        """The pixel of the nearest byte."""
        # Half precision cannot tell bytes apart.
        return _pixel(_byte(x.to(torch.promote_types(x.dtype, torch.float32))))


class Softmax(_Bytes):
    """P(k) = softmax(l)_k over the 256 bytes, with 256 logits l.

    References:
        van den Oord, Kalchbrenner and Kavukcuoglu, Pixel recurrent neural networks, 2016, section 3.1.
    """

    count = 256

    def log_prob(self, x: Tensor, numbers: Tensor) -> Tensor:
        """The log-probability, as in the base class."""
        target = _byte(x).long()
        log_p = -functional.cross_entropy(numbers.flatten(0, 1), target.flatten(0, 1), reduction="none")
        return log_p.view(x.shape)

    def draw(self, numbers: Tensor, uniforms: Tensor) -> Tensor:
        """The first byte whose cumulative probability is above the uniform number; as in the base class."""
        cumulative = numbers.softmax(2).cumsum(2)
        passed = (cumulative <= uniforms.unsqueeze(2)).sum(2)
        return _pixel(passed.clamp(max=255).to(uniforms.dtype))  # rounding may leave the last sum below one


class DiscreteLogistic(_Bytes):
    """A logistic density in 256 bins, with a mean and a scale for each pixel; the outer bins include the tails.

        P(x) = sigmoid((x + 1/255 - m) / s) - sigmoid((x - 1/255 - m) / s),    log s = log f + softplus(r + r0)

    with parameters m and r. The floor f of the scale is that of the reconstruction `discretised_logistic`, whose
    formula it is; r0 makes s = 0.1 for r = 0.

    References:
        Kingma et al., Improving variational inference with inverse autoregressive flow, 2016 (one scale).
        Salimans et al., PixelCNN++, 2017, equation 2 (the network's own scale; one component of the mixture there).
    """

    count = 2

    def log_prob(self, x: Tensor, numbers: Tensor) -> Tensor:
        """The log-probability, as in the base class."""
        mean, log_scale = self._mean_and_log_scale(numbers)
        return -negative_log_probability(x.to(mean.dtype), mean, log_scale)

    def draw(self, numbers: Tensor, uniforms: Tensor) -> Tensor:
        """The byte in whose bin the quantile of the uniform number falls; as in the base class."""
        mean, log_scale = self._mean_and_log_scale(numbers)
        return _pixel(_byte(mean + log_scale.exp() * uniforms.logit()))

    def _mean_and_log_scale(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = numbers.unbind(2)
        above = math.log(START / FLOOR)
        # Above its threshold torch's softplus is linear; 40 keeps that below the rounding of double precision.
        return mean, math.log(FLOOR) + functional.softplus(raw + math.log(math.expm1(above)), threshold=40)


def distribution_of(form: PixelForm) -> PixelDistribution:
    """The distribution called `form`."""
    forms: dict[str, type[PixelDistribution]] = {
        "bernoulli": Bernoulli,
        "softmax": Softmax,
        "discretised_logistic": DiscreteLogistic,
    }
    return forms[form]()


def _byte(x: Tensor) -> Tensor:
    return (127.5 * (x + 1)).round().clamp(0, 255)


def _pixel(byte: Tensor) -> Tensor:
    return byte / 127.5 - 1
