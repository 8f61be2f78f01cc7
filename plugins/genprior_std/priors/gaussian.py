"""The isotropic Gaussian, the prior of most autoencoders."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from genprior import DensityPrior, PartConfig

__all__ = ["Gaussian"]


class Gaussian(DensityPrior):
    """An isotropic Gaussian that ignores the condition: p(z) = N(z; 0, sigma^2 I).

    Codes are [n, d] for any d. Adversarial autoencoders used sigma = 5 on MNIST.
    """

    name = "gaussian"

    class Config(PartConfig):
        """Settings of the Gaussian prior."""

        sigma: float = Field(default=1.0, gt=0, allow_inf_nan=False)
        """Standard deviation of each number of a code."""

    def sample(self, asked: Tensor) -> Tensor:
        """Draw codes [n, d] from N(0, sigma^2 I), one for each row of `asked` [n, k]."""
        noise = torch.randn(len(asked), self.sizes.code, device=asked.device, dtype=asked.dtype)
        return noise.mul_(self.config.sigma)

    def walk(self, columns: int, like: Tensor) -> Tensor | None:
        """A square grid of codes, each in the middle of a cell of equal probability: [columns, columns, 2].

            z_ij = sigma (q_j, -q_i),  q_i = Phi^-1((i + 1/2) / columns)

        The first number rises along a row, and the second falls from row to row, as in a drawing of the plane. None
        unless codes have 2 numbers.

        Source: the grid of figure 4 of Kingma and Welling, "Auto-encoding variational Bayes".
        """
        if self.sizes.code != 2:
            return None
        # torch has no inverse of Phi in half precision.
        middle = (torch.arange(columns, device=like.device, dtype=torch.float32) + 0.5) / columns
        q = self.config.sigma * torch.special.ndtri(middle.to(torch.promote_types(like.dtype, torch.float32)))
        return torch.stack(torch.meshgrid(q, -q, indexing="xy"), -1).to(like.dtype)

    def log_prob(self, z: Tensor, asked: Tensor) -> Tensor:
        """The log-density -|z|^2 / (2 sigma^2) - d log(sigma sqrt(2 pi)): [n] in nats for z [n, d]."""
        sigma: float = self.config.sigma
        return -0.5 * (z / sigma).square().sum(1) - z.shape[1] * (math.log(sigma) + 0.5 * math.log(2 * math.pi))
