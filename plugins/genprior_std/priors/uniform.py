"""The uniform distribution on a cube."""

from __future__ import annotations

import math
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from genprior import DensityPrior, PartConfig

__all__ = ["Uniform"]


class Uniform(DensityPrior):
    """A uniform distribution on a cube that ignores the condition: p(z) = (high - low)^-d on [low, high]^d, else 0.

    Codes are [n, d] for any d. On [-1, 1] it is the noise of DCGAN and of InfoGAN. Models trained by likelihood refuse
    it: the KL from it of a posterior that reaches outside of the cube is infinite.
    """

    name = "uniform"
    supports = ("bounded",)

    class Config(PartConfig):
        """Settings of the uniform prior."""

        low: float = Field(default=-1.0, allow_inf_nan=False)
        """The smallest value of each number of a code."""
        high: float = Field(default=1.0, allow_inf_nan=False)
        """The largest value of each number of a code; above `low`."""

        @model_validator(mode="after")
        def _ordered(self) -> Self:
            if not self.low < self.high:
                raise ValueError(f"low = {self.low} is not below high = {self.high}; give a low that is smaller")
            return self

    def sample(self, asked: Tensor) -> Tensor:
        """Draw codes [n, d] uniformly from [low, high]^d, one for each row of `asked` [n, k]."""
        noise = torch.rand(len(asked), self.sizes.code, device=asked.device, dtype=asked.dtype)
        return noise.mul_(self.config.high - self.config.low).add_(self.config.low)

    def walk(self, columns: int, like: Tensor) -> Tensor | None:
        """The middles of the cells of a square of columns x columns cells: [columns, columns, 2].

        The first number rises along a row, and the second falls from row to row, as in a drawing of the plane. None
        unless codes have 2 numbers.
        """
        if self.sizes.code != 2:
            return None
        middle = (torch.arange(columns, device=like.device, dtype=like.dtype) + 0.5) / columns
        z = self.config.low + (self.config.high - self.config.low) * middle
        return torch.stack(torch.meshgrid(z, z.flip(0), indexing="xy"), -1)

    def log_prob(self, z: Tensor, asked: Tensor) -> Tensor:
        """The log-density: -d log(high - low) inside the cube, minus infinity outside: [n] in nats for z [n, d]."""
        inside = ((z >= self.config.low) & (z <= self.config.high)).all(1)
        value = -z.shape[1] * math.log(self.config.high - self.config.low)
        return z.new_full((len(z),), value).masked_fill(~inside, -math.inf)
