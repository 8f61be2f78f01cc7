"""A noisy spiral in the plane."""

from __future__ import annotations

import math

import numpy
import torch
from pydantic import Field
from torch import Tensor

from genprior import DensityPrior, PartConfig, PlanError, Sizes
from genprior_std.priors.one_hot import check_one_hot

__all__ = ["SwissRoll"]

RADIUS = 3.0
TURN = 4 * math.pi
ROWS = 10
"""Segments of a walk without a condition, as many as in figure 4 of the paper."""
NODES, WEIGHTS = (array.tolist() for array in numpy.polynomial.legendre.leggauss(8))


class SwissRoll(DensityPrior):
    """A swiss roll with Gaussian noise: the mean of a Gaussian is drawn along a spiral of two turns.

        u ~ U(0, 1),  t = sqrt(u),  c(t) = 3 t (cos 4 pi t, sin 4 pi t),  z = c(t) + sigma e,  e ~ N(0, I)

    p(t) = 2 t makes points nearly uniform in arc length. Codes are [n, 2]. With `asked` [n, K], a one-hot, u is drawn
    from the k-th of K equal segments [k / K, (k + 1) / K]; without a condition, from all of [0, 1].

    Raises:
        PlanError: the code is not 2-D, or the condition is not a one-hot.

    Source: "Adversarial autoencoders", section 2.3 and figure 4; the geometry is that of a public implementation
    (musyoku/adversarial-autoencoder), which has no noise.
    """

    name = "swiss_roll"

    class Config(PartConfig):
        """Settings of the swiss roll."""

        sigma: float = Field(default=0.1, ge=0.01, allow_inf_nan=False)
        """Standard deviation of the noise; the quadrature of the density needs about 150 / sigma nodes."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Check the code and the condition, and choose a quadrature that resolves the noise."""
        super().__init__(config, sizes)
        if sizes.code != 2:
            raise PlanError(
                f"prior '{self.name}' lies in the plane and needs codes of 2 numbers; the code has {sizes.code}. "
                "Set code_size = 2, or use a prior of any width ('gaussian', 'uniform')"
            )
        check_one_hot(self.name, sizes)
        self._segments = sizes.asked or 1
        edges = [math.sqrt(k / self._segments) for k in range(self._segments + 1)]
        lengths = [(b - a) * RADIUS * math.hypot(1, TURN * b) for a, b in zip(edges, edges[1:], strict=False)]
        # Eight Gauss-Legendre nodes on a panel of at most two sigmas leave an error far below float32's.
        self._panels = math.ceil(max(lengths) / (2 * self.config.sigma))

    def _segment(self, asked: Tensor) -> Tensor:
        """The segment [n] that each row asks for; the only one, 0, without a condition."""
        return asked.argmax(1) if self.sizes.asked else torch.zeros(len(asked), device=asked.device, dtype=torch.long)

    def _roll(self, t: Tensor) -> Tensor:
        """The points c(t) [..., 2] of the spiral."""
        return torch.stack([RADIUS * t * (TURN * t).cos(), RADIUS * t * (TURN * t).sin()], -1)

    def sample(self, asked: Tensor) -> Tensor:
        """Draw codes [n, 2] along the segment that each row of `asked` [n, K or 0] names."""
        n = len(asked)
        uniform = torch.rand(n, device=asked.device, dtype=asked.dtype)
        t = ((self._segment(asked) + uniform) / self._segments).sqrt()
        noise = torch.randn(n, 2, device=asked.device, dtype=asked.dtype)
        sigma: float = self.config.sigma
        return self._roll(t) + sigma * noise

    def walk(self, columns: int, like: Tensor) -> Tensor:
        """The roll without its noise from the middle outwards, one row for each segment of equal u: [K, columns, 2].

        z_kj = c(sqrt(u)), u = (k + (j + 1/2) / columns) / K; K is the width of `asked`, or 10.
        """
        rows = self.sizes.asked or ROWS
        u = (torch.arange(rows * columns, device=like.device, dtype=like.dtype) + 0.5) / (rows * columns)
        return self._roll(u.sqrt().view(rows, columns))

    def log_prob(self, z: Tensor, asked: Tensor) -> Tensor:
        """The log-density, log int 2 K t N(z; c(t), sigma^2 I) dt over the segment: [n] in nats for z [n, 2].

        The integral is a composite Gauss-Legendre sum, taken by logsumexp, so that it stays finite far from the roll.
        Memory grows as n times the number of nodes.
        """
        panel = torch.arange(self._panels, device=z.device, dtype=z.dtype)
        step = 1 / self._panels
        inner = torch.cat([(panel + (0.5 + 0.5 * node)) * step for node in NODES])
        weight = torch.cat([torch.full_like(panel, 0.5 * w * step) for w in WEIGHTS])
        # Without a condition all rows share one set of nodes [1, m]; else each row has its own [n, m].
        k = self._segment(asked)[:, None] if self.sizes.asked else torch.zeros(1, 1, device=z.device, dtype=torch.long)
        start, stop = (k.to(z.dtype) / self._segments).sqrt(), ((k + 1).to(z.dtype) / self._segments).sqrt()
        t = start + (stop - start) * inner
        mass = (2 * self._segments * t * (stop - start) * weight).log()
        sigma: float = self.config.sigma
        distance = ((z[:, None] - self._roll(t)) / sigma).square().sum(-1)
        return (mass - 0.5 * distance).logsumexp(1) - math.log(2 * math.pi * sigma**2)
