"""Diffusion: a denoiser of codes, and a deterministic sampler that removes noise step by step."""

from __future__ import annotations

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from genprior import Codes, FittedPrior, Objectives, PartConfig, Phase, Sizes
from genprior_std.layers.standardised_codes import StandardisedCodes
from genprior_std.layers.time_conditioned import TimeConditioned

__all__ = ["Diffusion"]

SIGMA_MIN, SIGMA_MAX, RHO = 0.002, 80.0, 7.0
"""The noise levels of a sample: the smallest, the largest, and how much they crowd at the small end (Table 1)."""
LOG_SIGMA_MEAN, LOG_SIGMA_STD = -0.5, 1.2
"""ln sigma in training is normal: Table 1 has a mean of -1.2 for data of standard deviation 0.5, here ln 2 higher."""


class Diffusion(FittedPrior):
    """A denoiser of codes, with a deterministic sampler, in the parametrisation of EDM.

        D(x; sigma, asked) = c_skip x + c_out F(c_in x; c_noise, asked)                     (equation 7)
        c_skip = 1 / (sigma^2 + 1),  c_out = sigma / sqrt(sigma^2 + 1),  c_in = 1 / sqrt(sigma^2 + 1),
        c_noise = ln(sigma) / 4                                                             (table 1, sigma_data = 1)
        E |D(z + sigma e; sigma, asked) - z|^2 / c_out^2,    e ~ N(0, I),  ln sigma ~ N(-0.5, 1.2^2)

    with x a noisy code and z the standardised code of a training image, so that sigma_data is 1. F is a network that
    begins at 0; before training the prior is the Gaussian with the codes' means and variances.

    A sample follows the probability-flow equation dx / d sigma = (x - D(x; sigma)) / sigma from sigma_max = 80 to
    0.002 and then 0, in `sampler_steps` steps of Heun's method without added noise (algorithm 1; the last step is one
    of Euler), at the noise levels of equation 5 with rho = 7. Only its first noise is random. With a condition (k > 0)
    the network sees `asked` [n, k] beside the code. Codes are [n, d]. The prior has no log_prob. The weights of a
    diffusion vary from step to step: their average (`run.fit.ema`) samples better than the last ones.

    References:
        Karras, Aittala, Aila and Laine, Elucidating the Design Space of Diffusion-Based Generative Models, 2022.
    """

    name = "diffusion"

    class Config(PartConfig):
        """Settings of the denoiser and its sampler."""

        hidden: tuple[PositiveInt, ...] = Field(default=(256, 256, 256), min_length=1)
        """Widths of the hidden layers of the denoiser's network."""
        sampler_steps: int = Field(default=50, ge=2)
        """Noise levels of a sample, each but the last with two evaluations of the network; with few, samples are too
        wide: by 91 % with 5, 18 % with 10, 3.5 % with 20 and 0.5 % with 50, for Gaussian codes."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the denoiser's network, and a standardisation that is the identity until the fit begins."""
        super().__init__(config, sizes)
        self.standardised = StandardisedCodes(sizes.code)
        self.network = TimeConditioned(sizes.code, sizes.asked, self.config.hidden)

    def begin_fit(self, codes: Codes) -> None:
        """Take the means and standard deviations of the codes."""
        self.standardised.set(codes.z)

    def phases(self) -> tuple[Phase, ...]:
        """The regression of the denoiser."""
        return (Phase("denoise", self.denoise),)

    def denoise(self, codes: Codes) -> Objectives:
        """The weighted squared error of the denoised codes of a batch, averaged over the numbers of a code too."""
        z = self.standardised(codes.z)
        sigma = (LOG_SIGMA_MEAN + LOG_SIGMA_STD * torch.randn_like(z[:, :1])).exp()
        error = self.denoiser(z + sigma * torch.randn_like(z), sigma, codes.asked) - z
        c_out_squared = sigma.square() / (sigma.square() + 1)
        return Objectives({"network": (error.square() / c_out_squared).mean()})

    def denoiser(self, x: Tensor, sigma: Tensor, asked: Tensor) -> Tensor:
        """D(x; sigma, asked) [n, d] of noisy standardised codes x [n, d] at levels sigma [n, 1], with asked [n, k]."""
        c_in = (sigma.square() + 1).rsqrt()
        f = self.network(c_in * x, sigma.log() / 4, asked)
        denoised: Tensor = c_in.square() * x + sigma * c_in * f
        return denoised

    def sample(self, asked: Tensor) -> Tensor:
        """Draw noise for each row of asked [n, k], and remove it step by step: codes [n, d]."""
        levels = noise_levels(self.config.sampler_steps)
        x = levels[0] * torch.randn(len(asked), self.sizes.code, dtype=asked.dtype, device=asked.device)
        for now, after in zip(levels[:-1], levels[1:], strict=True):
            slope = self._slope(x, now, asked)
            forward = x + (after - now) * slope
            if after > 0:
                slope = (slope + self._slope(forward, after, asked)) / 2
                forward = x + (after - now) * slope
            x = forward
        codes: Tensor = self.standardised.inverse(x)
        return codes

    def _slope(self, x: Tensor, sigma: float, asked: Tensor) -> Tensor:
        """The derivative dx / d sigma [n, d]."""
        return (x - self.denoiser(x, asked.new_full((len(asked), 1), sigma), asked)) / sigma


def noise_levels(steps: int) -> list[float]:
    """The noise levels of a sample, from the largest to 0: `steps` + 1 numbers (equation 5).

    Args:
        steps: N, at least 2.
    """
    high, low = SIGMA_MAX ** (1 / RHO), SIGMA_MIN ** (1 / RHO)
    return [(high + i / (steps - 1) * (low - high)) ** RHO for i in range(steps)] + [0.0]
