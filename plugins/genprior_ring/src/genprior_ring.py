"""A ring-shaped prior: the worked example of a genprior plugin."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor

from genprior import DensityPrior, Part, PartConfig, PlanError, Sizes, hookimpl

__all__ = ["Ring", "genprior_parts"]


class Ring(DensityPrior):
    """A point drawn uniformly on a circle, with Gaussian noise: z = r (cos u, sin u) + t e, e ~ N(0, I)."""

    name = "ring"

    class Config(PartConfig):
        """Settings of the ring."""

        radius: float = Field(default=2.0, gt=0, allow_inf_nan=False)
        """r, the radius of the circle."""
        thickness: float = Field(default=0.2, gt=0, allow_inf_nan=False)
        """t, the standard deviation of the noise in each direction."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Check that codes are 2-D."""
        super().__init__(config, sizes)
        if sizes.code != 2:
            raise PlanError(f"prior 'ring' needs codes of 2 numbers; the code has {sizes.code}. Set code_size = 2")

    def sample(self, asked: Tensor) -> Tensor:
        """Draw codes [n, 2], one for each row of `asked` [n, k]."""
        u = 2 * math.pi * torch.rand(len(asked), device=asked.device, dtype=asked.dtype)
        e = torch.randn(len(asked), 2, device=asked.device, dtype=asked.dtype)
        z: Tensor = self.config.radius * torch.stack([u.cos(), u.sin()], 1) + self.config.thickness * e
        return z

    def log_prob(self, z: Tensor, asked: Tensor) -> Tensor:
        """The log-density [n]: -(|z| - r)^2 / 2 t^2 + log(exp(-a) I0(a)) - log(2 pi t^2) with a = |z| r / t^2."""
        r, t, length = self.config.radius, self.config.thickness, z.norm(dim=1)
        bessel = torch.special.i0e(length * (r / t**2)).log()
        log_p: Tensor = -((length - r) ** 2) / (2 * t**2) + bessel - math.log(2 * math.pi * t**2)
        return log_p


@hookimpl
def genprior_parts(register: Callable[[type[Part]], None]) -> None:
    """Register the ring."""
    register(Ring)
