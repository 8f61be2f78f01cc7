"""Checks of densities on the unit sphere: they integrate to 1 over its surface, and samples are distributed by them.

The integral over the surface is the mean over points that cover the sphere evenly, times its area: equally spaced
angles for codes of 2 numbers, a lattice of equal areas for codes of 3 numbers, both turned at random, and independent
uniform points for wider ones. The samples are compared with it as in `genprior.testing.densities`, with its error rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from genprior.parts import DensityPrior
from genprior.randomness import seeded
from genprior.testing.densities import check_fit, check_inside, in_chunks
from genprior.testing.report import Contract

__all__ = ["check_sphere", "on_sphere"]

SAMPLES = 4096
POINTS = 2**15
ERRORS = 5.0
LENGTH = 1e-6
"""How far the length of a code on the sphere may be from 1, in double precision."""


def on_sphere(prior: DensityPrior, z: Tensor) -> bool:
    """Whether the density of a prior is one on the sphere, of which z [n, d] are samples.

    A prior that may lie on either space does so if all of its samples have length 1.
    """
    if len(prior.supports) == 1:
        return prior.supports == ("unit_sphere",)
    return "unit_sphere" in prior.supports and bool(((z.norm(dim=1) - 1).abs() < LENGTH).all())


def check_sphere(
    contract: Contract,
    called: str,
    log_prob: Callable[[Tensor], Tensor],
    sample: Callable[[int], Tensor],
    about: str = "",
) -> None:
    """Check that samples have length 1 and are distributed by exp(log_prob), whose integral over the sphere is 1.

    Args:
        contract: collects the failures.
        called: how the density is called, for the report.
        log_prob: the logarithm of the density per surface [n] of codes [n, d] of length 1.
        sample: draws n codes [n, d].
        about: the code width and condition, for the report.
    """
    with seeded("testing", "unit_sphere"), torch.no_grad():
        z = sample(SAMPLES).double()
        length = float((z.norm(dim=1) - 1).abs().max())
        if not contract.require(
            length < LENGTH,
            f"the length of {SAMPLES} samples{about}",
            f"it is off by up to {length:.2g}",
            'codes of a distribution whose support is "unit_sphere" have length 1',
            'divide samples by their length, or state the support "space"',
        ):
            return
        log_p_samples = in_chunks(log_prob, z).double()
        if not check_inside(contract, called, log_p_samples, about):
            return
        d = z.shape[1]
        points = _cover(d)
        log_p = in_chunks(log_prob, points).double()
        log_area = math.log(2) + 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d)
        weights = (log_p + log_area).exp()
    if not contract.require(
        bool(torch.isfinite(weights).all()),
        f"{called} of codes on the sphere{about}",
        "some densities are infinite or nan",
        "a log-density is a number, or minus infinity where there are no samples",
        "use logsumexp for sums of densities, and look for divisions by 0",
    ):
        return
    total, error = float(weights.mean()), float(weights.std() / math.sqrt(len(weights)))
    says = "exp(log_prob) is normalised: it integrates to 1 over the surface of the unit sphere"
    exact = d <= 3  # the points are a rule of integration, whose error is far below that of independent points
    if contract.require(
        abs(total - 1) <= (0.01 if exact else max(ERRORS * error, 0.01)),
        f"the integral of exp({called}) over the unit sphere{about}",
        f"{total:.4g} (standard error {0 if exact else error:.2g})",
        says,
        "look for a missing constant, such as the area 2 pi^(d/2) / Gamma(d/2); "
        f"log_prob is too high by {math.log(max(total, 1e-300)):.4g}",
    ):
        contract.require(
            exact or error < 0.1,
            f"the integral of exp({called}) over the unit sphere{about}",
            f"it could not be measured: {total:.4g} with a standard error of {error:.2g}",
            says,
            "check it with a smaller code, or with a distribution that is less concentrated",
        )
    check_fit(contract, called, z, log_p_samples, points, log_p, weights, about)


def _cover(d: int) -> Tensor:
    """Points that cover the unit sphere evenly, [m, d], turned at random."""
    if d > 3:
        return torch.nn.functional.normalize(torch.randn(POINTS, d, dtype=torch.float64), dim=1)
    k = torch.arange(POINTS, dtype=torch.float64)
    if d == 2:
        angle = 2 * math.pi * (k + torch.rand((), dtype=torch.float64)) / POINTS
        return torch.stack([angle.cos(), angle.sin()], 1)
    # Fibonacci's lattice: heights in equal steps, each turned by the golden angle.
    height = 1 - (2 * k + 1) / POINTS
    angle, radius = k * math.pi * (3 - math.sqrt(5)), (1 - height.square()).sqrt()
    lattice = torch.stack([radius * angle.cos(), radius * angle.sin(), height], 1)
    turn: Tensor = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
    return lattice @ turn
