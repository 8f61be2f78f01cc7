"""The von Mises-Fisher distribution on the unit sphere, as the posterior of encoders."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import normalize, softplus

from genprior_std.layers.bessel import bessel_ratio, log_bessel_over_power
from genprior_std.layers.row_posterior import RowPosterior

__all__ = ["VonMisesFisher", "log_sphere_area"]

PROPOSALS = 24
"""Proposals per code, of which the first accepted one is taken. At least 65 % are accepted for every d and kappa, so
that none of 24 is with a probability below 1e-10; the last is taken then."""
NODES = 48
"""Nodes of the integral of an angle's derivative."""
REACH = 10.0
"""Standard deviations of the angle over which the integral runs."""


def log_sphere_area(d: int) -> float:
    """The logarithm of the surface of the unit sphere in R^d, 2 pi^(d/2) / Gamma(d/2)."""
    return math.log(2) + 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d)


class VonMisesFisher(RowPosterior):
    """A von Mises-Fisher distribution, q(z | x) = C_d(kappa) exp(kappa m . z) on the unit sphere |z| = 1 in R^d.

        C_d(kappa) = kappa^(d/2 - 1) / ((2 pi)^(d/2) I_(d/2-1)(kappa))

    with m of length 1 and kappa >= 0, 0 being the uniform distribution. The density is with respect to the surface.

    Samples are z = cos(t) m + sin(t) v with v uniform on the directions orthogonal to m; the angle t is drawn by
    rejection (Wood), all proposals of all images at once. Their gradient is exact in the mean: m enters through a
    reflection, and kappa through the implicit derivative of the angle at its quantile u = F(t; kappa),

        dt/dkappa = - (dF/dkappa) / (dF/dt) = - int_0^t (cos s - A) p(s) ds / p(t)

    by Fejer's quadrature, with p(s) ~ exp(kappa cos s) sin^(d-2) s and A = E cos t. The derivative of the accepted
    proposal alone would need a correction by the score function (Naesseth et al., Reparameterization Gradients through
    Acceptance-Rejection Sampling Algorithms, 2017). Second derivatives of samples are not those of the distribution.

    References:
        Davidson, Falorsi, De Cao, Kipf and Tomczak, Hyperspherical Variational Auto-Encoders, 2018; Ulrich, Computer
        generation of distributions on the m-sphere, 1984; Wood, Simulation of the von Mises Fisher distribution, 1994
        (algorithm VM*); Figurnov, Mohamed and Mnih, Implicit Reparameterization Gradients, 2018 (the derivative).
    """

    support = "unit_sphere"

    def __init__(self, mean: Tensor, concentration: Tensor) -> None:
        """Describe one distribution for each image, in at least single precision.

        Args:
            mean: m, directions of length 1, [n, d] with d >= 2.
            concentration: kappa >= 0, [n].
        """
        self._mean = mean.to(torch.promote_types(mean.dtype, torch.float32))
        self._concentration = concentration.to(self._mean.dtype)

    @classmethod
    def from_output(cls, out: Tensor) -> Self:
        """The distribution with m = u / |u| and kappa = 1 + softplus(c) of an encoder's output [n, d + 1].

        Args:
            out: u [n, d], and then c [n, 1].
        """
        out = out.to(torch.promote_types(out.dtype, torch.float32))
        return cls(normalize(out[:, :-1], dim=1), 1 + softplus(out[:, -1]))

    @property
    def mean(self) -> Tensor:
        """The mean direction m, [n, d], which lies on the sphere; the mean of z is A_d(kappa) m, inside of it."""
        return self._mean

    @property
    def concentration(self) -> Tensor:
        """kappa, [n]."""
        return self._concentration

    @property
    def mean_resultant_length(self) -> Tensor:
        """A_d(kappa) = I_(d/2)(kappa) / I_(d/2-1)(kappa) = E m . z, [n]."""
        return bessel_ratio(self._concentration, self._order).to(self._mean.dtype)

    @property
    def _order(self) -> float:
        return self._mean.shape[1] / 2 - 1

    def rsample(self) -> Tensor:
        """A code of length 1 for each image, [n, d], differentiable in m and kappa."""
        n, d = self._mean.shape
        angle = self._angle()
        around = normalize(torch.randn(n, d - 1, device=angle.device, dtype=angle.dtype), dim=1)
        # Reflections map the first axis e to m up to a sign, which is chosen so that |m + sign e| is at least 2^(1/2).
        sign = torch.where(self._mean[:, 0] >= 0, 1.0, -1.0).to(angle.dtype)
        y = torch.cat([(-sign * angle.cos())[:, None], angle.sin()[:, None] * around], 1)
        normal = torch.cat([(self._mean[:, 0] + sign)[:, None], self._mean[:, 1:]], 1)
        return y - normal * ((normal * y).sum(1) * 2 / normal.square().sum(1))[:, None]

    def log_prob(self, z: Tensor) -> Tensor:
        """The log-density of codes z [n, d] of length 1, kappa (m . z - 1) + log C_d(kappa) + kappa: [n], in nats."""
        # For unit vectors m . z - 1 is -|z - m|^2 / 2, which has no cancellation where kappa is large.
        return -0.5 * self._concentration * (z - self._mean).square().sum(1) + self._log_peak.to(self._mean.dtype)

    @property
    def _log_peak(self) -> Tensor:
        """The log-density at m, log C_d(kappa) + kappa, [n], in double precision."""
        return -log_bessel_over_power(self._concentration, self._order) - self._mean.shape[1] / 2 * math.log(
            2 * math.pi
        )

    def map_rows(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The distributions of other rows of m and kappa."""
        return type(self)(change(self._mean), change(self._concentration))

    def log_prob_of_each(self, z: Tensor) -> Tensor:
        """The log-densities [m, n] of codes z [m, d], in double precision."""
        kappa = self._concentration.double()
        return kappa * (z.double() @ self._mean.double().T - 1) + self._log_peak

    def _angle(self) -> Tensor:
        """An angle t between z and m for each image, [n], differentiable in kappa."""
        with torch.no_grad():
            angle = _draw_angle(self._concentration, self._mean.shape[1])
        if torch.is_grad_enabled() and self._concentration.requires_grad:
            with torch.no_grad():
                slope = _angle_slope(angle, self._concentration, self._mean.shape[1])
            angle = angle + slope * (self._concentration - self._concentration.detach())
        return angle


def _draw_angle(kappa: Tensor, d: int) -> Tensor:
    """The angle between a sample and the mean direction, [n], by the rejection of Wood's algorithm VM*.

    With e ~ Beta((d-1)/2, (d-1)/2), the proposal cos t = (1 - (1 + b) e) / (1 - (1 - b) e) is the angle with tan^2(t/2)
    = b e / (1 - e), which is exact for small angles too.
    """
    m = d - 1
    b = m / (2 * kappa + torch.hypot(2 * kappa, torch.full_like(kappa, m)))[:, None]
    x0 = (1 - b) / (1 + b)
    half = torch.full((len(kappa), PROPOSALS), 0.5 * m, device=kappa.device, dtype=kappa.dtype)
    e = torch.distributions.Beta(half, half, validate_args=False).sample()
    w = (1 - (1 + b) * e) / (1 - (1 - b) * e)
    # log(1 - x0 w) - log(1 - x0^2) with 1 - x0^2 = 4 b / (1 + b)^2
    log_ratio = kappa[:, None] * (w - x0) + m * ((1 - x0 * w) * (1 + b).square() / (4 * b)).log()
    accepted = log_ratio >= torch.log1p(-torch.rand_like(e))
    accepted[:, -1] = True
    e = e.gather(1, accepted.to(torch.uint8).argmax(1, keepdim=True))
    return 2 * torch.atan2((b * e).sqrt(), (1 - e).sqrt())[:, 0]


def _angle_slope(angle: Tensor, kappa: Tensor, d: int) -> Tensor:
    """dt/dkappa at a constant quantile, [n]; see `VonMisesFisher`.

    Below the mean angle it is the integral from 0 to t; above, that from t to pi, of the opposite sign, so that all
    values of the integrand have one sign.
    """
    dtype, angle, kappa = angle.dtype, angle.double(), kappa.double()
    mean = bessel_ratio(kappa, d / 2 - 1)[:, None]
    t = angle.clamp(1e-12, math.pi - 1e-12)[:, None]
    reach = REACH * kappa.clamp_min(max(d - 2, 0.1)).rsqrt()[:, None]
    below = t.cos() >= mean
    end = torch.where(below, (t - reach).clamp_min(0), (t + reach).clamp_max(math.pi))
    node, weight = _fejer(t)
    s = t + (end - t) * node  # [n, nodes]
    log_ratio = 2 * kappa[:, None] * ((t + s) / 2).sin() * ((t - s) / 2).sin() + (d - 2) * (s.sin() / t.sin()).log()
    integral = ((s.cos() - mean) * log_ratio.exp() * weight).sum(1) * (end - t)[:, 0]
    # From 0 to t it is minus that from t to 0, and plus that from t to pi, since both together are 0.
    return integral.to(dtype)


def _fejer(like: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes and weights of Fejer's first rule on [0, 1], computed where `like` is: a table would have to be copied."""
    k = torch.arange(NODES, device=like.device, dtype=like.dtype)
    theta = (k + 0.5) * (math.pi / NODES)
    j = k[1 : NODES // 2 + 1]
    weight = (1 - 2 * ((2 * theta[:, None] * j).cos() / (4 * j * j - 1)).sum(1)) / NODES
    return (1 + theta.cos()) / 2, weight
