"""Checks of densities: they integrate to 1, samples are distributed by them, and autograd agrees with them.

The integral is estimated by importance sampling: 9 of 10 points are samples of the part with noise as wide as the
distance to their 12th neighbour, the tenth is drawn from a Gaussian of three times the samples' standard deviation. So
the proposal is nowhere far below the density of the samples, and covers regions without samples.

Error rate: a check fails if its estimate is more than 5 standard errors off. At most 30 estimates are tested per call,
and they are means of thousands of terms. `check_ratio`, for codes too wide to integrate over, fails with probability
below 1e-6, for any density, by the bound of Maurer and Pontil. `check_cumulative`, for codes of one number, fails with
probability below 1e-6 by the inequality of Dvoretzky, Kiefer, Wolfowitz and Massart. `check_prior` makes at most six
of these calls, so a right density fails with probability below 1e-4, under fixed seeds.

Resolution: `check_cumulative` finds a difference of 0.0086 or more between the distribution functions (the bound, and
two standard errors), such as a shift by 0.03 or a scale of 1.05 of a Gaussian's standard deviation, or a Gaussian for a
logistic density of the same variance. `check_density` finds a share of a region that is off by about 0.05.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from genprior.randomness import seeded
from genprior.testing.report import Contract

__all__ = [
    "check_cumulative", "check_density", "check_fit", "check_gradient", "check_inside", "check_ratio", "in_chunks"
]  # fmt: skip

SAMPLES = 4096
POINTS = 8192
CENTRES = 1024
NEIGHBOUR = 12
WIDE = 0.1
CHUNK = 1024
ERRORS = 5.0
LOG_RATE = math.log(2 * 4 / 1e-6)
"""ln(2 / delta) of four one-sided bounds that together fail with probability 1e-6."""

DRAWS = 2**17
GRID = 2**14
STEP_RATE = math.log(2 / 1e-6)
"""ln(2 / delta) of a bound that fails with probability 1e-6."""

Density = Callable[[Tensor], Tensor]


def check_density(
    contract: Contract, called: str, log_prob: Density, sample: Callable[[int], Tensor], about: str = ""
) -> None:
    """Check that exp(log_prob) integrates to 1 and that the samples are distributed by it.

    Args:
        contract: collects the failures.
        called: how the density is called, for the report.
        log_prob: the logarithm of the density [n] of codes [n, d]; d at most about 4.
        sample: draws n codes [n, d].
        about: the code width and condition, for the report.
    """
    with seeded("testing", "density"), torch.no_grad():
        z = sample(SAMPLES).double()
        log_p_samples = in_chunks(log_prob, z)
        if not check_inside(contract, called, log_p_samples, about):
            return
        points, log_q = _propose(z)
        log_p = in_chunks(log_prob, points).double()
    weights = (log_p - log_q).exp()
    if not contract.require(
        bool(torch.isfinite(weights).all()),
        f"{called} of codes near and far from the samples{about}",
        "some densities are infinite or nan",
        "a log-density is a number, or minus infinity outside the support",
        "look for nan far from the samples, and use logsumexp for sums of densities",
    ):
        return
    total, error = float(weights.mean()), float(weights.std() / math.sqrt(len(weights)))
    says = "exp(log_prob) is normalised: it integrates to 1"
    normalised = contract.require(
        abs(total - 1) <= max(ERRORS * error, 0.01),
        f"the integral of exp({called}) over all codes{about}",
        f"{total:.4g} (standard error {error:.2g})",
        says,
        "look for a missing constant, such as d / 2 log(2 pi); "
        f"log_prob is too high by {math.log(max(total, 1e-300)):.4g}",
    )
    if normalised:
        contract.require(
            error < 0.1,
            f"the integral of exp({called}) over all codes{about}",
            f"it could not be measured: {total:.4g} with a standard error of {error:.2g}",
            says + ", which the samples are used to verify",
            "sample and log_prob seem to describe different distributions; else check it with a smaller code",
        )
    check_fit(contract, called, z, log_p_samples.double(), points, log_p, weights, about)


def check_inside(contract: Contract, called: str, log_p: Tensor, about: str) -> bool:
    """Require that the part's own samples have finite log-densities."""
    outside = int((~torch.isfinite(log_p)).sum())
    return contract.require(
        outside == 0,
        f"{called} of {len(log_p)} of the part's own samples{about}",
        f"{outside} of them have a density of zero, infinity or nan",
        "a sample has a finite log-density",
        "sample and log_prob must describe the same distribution; compare their scales and supports",
    )


def in_chunks(log_prob: Density, z: Tensor) -> Tensor:
    """The log-densities [n] of codes z [n, d], computed a piece at a time."""
    return torch.cat([log_prob(piece) for piece in torch.split(z, CHUNK)])


def _propose(z: Tensor) -> tuple[Tensor, Tensor]:
    """Points [m, d] near and around the samples z, and the log-density of the proposal at them."""
    d = z.shape[1]
    centres = z[:CENTRES]
    width = _widths(centres)
    middle, wide = z.mean(0), 3 * z.std(0).clamp_min(1e-12)
    n_wide = int(POINTS * WIDE)
    chosen = torch.arange(POINTS - n_wide) % CENTRES
    near = centres[chosen] + width[chosen, None] * torch.randn(POINTS - n_wide, d, dtype=z.dtype)
    points = torch.cat([near, middle + wide * torch.randn(n_wide, d, dtype=z.dtype)])
    # The near points use the centres in turn, which for this estimate is as good as drawing the centres.
    log_near = _log_kernels(points, centres, width)
    half = 0.5 * d * math.log(2 * math.pi)
    log_wide = (-0.5 * ((points - middle) / wide).square() - wide.log()).sum(1) - half
    return points, torch.logaddexp(log_near + math.log1p(-WIDE), log_wide + math.log(WIDE))


def check_fit(
    contract: Contract,
    called: str,
    z: Tensor,
    log_p_samples: Tensor,
    points: Tensor,
    log_p: Tensor,
    w: Tensor,
    about: str,
) -> None:
    """Compare means under the samples with means under the density: the log-density, and the mass of regions."""
    nearest, cells = torch.cdist(z, z[:16]).argmin(1), torch.cdist(points, z[:16]).argmin(1)
    statistics = [("the mean log-density", log_p_samples, torch.where(w > 0, log_p, 0.0))]
    statistics += [
        (f"the share near {_point(z[k])}", (nearest == k).double(), (cells == k).double()) for k in range(16)
    ]
    for axis in range(z.shape[1]):
        for share in (0.1, 0.5, 0.9):
            at = z[:, axis].quantile(share)
            name = f"the share with coordinate {axis} below {at:.3g}"
            statistics.append((name, (z[:, axis] < at).double(), (points[:, axis] < at).double()))
    total = w.sum()
    if not total > 0:
        return
    worst, shown = 0.0, ""
    for name, of_samples, of_points in statistics:
        expected = (w * of_points).sum() / total
        variance = of_samples.var() / len(z) + (w * (of_points - expected)).square().sum() / total.square()
        gap = abs(float(of_samples.mean() - expected)) / max(math.sqrt(float(variance)), 1e-9)
        if gap > worst:
            worst, shown = (
                gap,
                f"{name} is {float(of_samples.mean()):.4g} among samples, {float(expected):.4g} by log_prob",
            )
    contract.require(
        worst <= ERRORS,
        f"{SAMPLES} samples against {called}{about}",
        f"{shown} ({worst:.1f} standard errors apart)",
        "samples are distributed by the density",
        "sample and log_prob must describe the same distribution; compare their means, scales and weights",
    )


def check_cumulative(
    contract: Contract, called: str, log_prob: Density, sample: Callable[[int], Tensor], about: str = ""
) -> None:
    """Check the distribution function of samples of one number against the integral of the density.

    With F the integral of exp(log_prob), by the trapezoidal rule, and F_n the share of n samples below a number,

        P(sup |F_n - F| > e) <= 2 exp(-2 n e^2).

    The points are spaced evenly beyond the samples, and between them also as densely as the samples are. The change of
    F when every other point is left out, which bounds the error of the rule, is added to e.

    Source: Massart, "The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality", 1990.

    Args:
        contract: collects the failures.
        called: how the density is called, for the report.
        log_prob: the logarithm of the density [n] of codes [n, 1].
        sample: draws n codes [n, 1].
        about: the code width and condition, for the report.
    """
    with seeded("testing", "cumulative"), torch.no_grad():
        drawn = [sample(min(GRID, DRAWS - begin)).double() for begin in range(0, DRAWS, GRID)]
        z = torch.cat(drawn)[:, 0].sort().values
        span = (z[-1] - z[0]).clamp_min(1e-12)
        even = torch.linspace(float(z[0] - span / 2), float(z[-1] + span / 2), GRID, dtype=z.dtype)
        points = torch.cat([even, z[:: DRAWS // GRID]]).sort().values
        density = in_chunks(log_prob, points[:, None]).double().exp()
    if not bool(torch.isfinite(density).all()):
        return  # check_density reports it
    below, coarse = _integrals(points, density), _integrals(points[::2], density[::2])
    rule = float((below[::2] - coarse).abs().max())
    share = torch.searchsorted(z, points, right=True).double() / DRAWS
    gaps = (share - below / below[-1]).abs()
    allowed = math.sqrt(STEP_RATE / (2 * DRAWS)) + rule
    worst = int(gaps.argmax())
    contract.require(
        float(gaps[worst]) <= allowed,
        f"{DRAWS} samples against {called}{about}",
        f"the share below {float(points[worst]):.3g} is {float(share[worst]):.4g} among samples, "
        f"{float(below[worst] / below[-1]):.4g} by log_prob (at most {allowed:.2g} apart)",
        "samples are distributed by the density",
        "sample and log_prob must describe the same distribution; compare their means, scales and shapes",
    )


def _integrals(points: Tensor, density: Tensor) -> Tensor:
    """The integral [m] of a density from the first point to each, by the trapezoidal rule."""
    pieces = points.diff() * (density[1:] + density[:-1]) / 2
    return torch.cat([pieces.new_zeros(1), pieces.cumsum(0)])


def check_ratio(
    contract: Contract, called: str, log_prob: Density, sample: Callable[[int], Tensor], about: str = ""
) -> None:
    """Check a density p of codes of any width against another one, q, that is known and easy to draw from.

    If the samples are distributed by p, and p and q are normalised, then

        E_p[q / (p + q)] = E_q[p / (p + q)],    both being the integral of p q / (p + q).

    Each side is the mean of numbers in [0, 1], whatever the width, so the gap is tested with an empirical Bernstein
    bound. A constant that is too large makes the left side smaller and the right one larger. q is half a Gaussian with
    the samples' mean and covariance, and half a kernel estimate; the better it overlaps p, the smaller an error shows.

    Sources: Bennett, "Efficient estimation of free energy differences from Monte Carlo data", 1976 (the ratio); Maurer
    and Pontil, "Empirical Bernstein bounds and sample variance penalization", 2009, theorem 4 (the bound).

    Args:
        contract: collects the failures.
        called: how the density is called, for the report.
        log_prob: the logarithm of the density [n] of codes [n, d].
        sample: draws n codes [n, d].
        about: the code width and condition, for the report.
    """
    with seeded("testing", "ratio"), torch.no_grad():
        z, fitted = sample(SAMPLES).double(), sample(CENTRES).double()
        points = _near(fitted, SAMPLES)
        log_p_z, log_p_points = (in_chunks(log_prob, codes).double() for codes in (z, points))
        if not check_inside(contract, called, log_p_z, about):
            return
        of_samples = torch.sigmoid(_log_near(fitted, z) - log_p_z)
        of_points = torch.sigmoid(log_p_points - _log_near(fitted, points))
    if not contract.require(
        bool(torch.isfinite(of_points).all()),
        f"{called} of codes near the samples{about}",
        "some densities are nan",
        "a log-density is a number, or minus infinity outside the support",
        "look for nan far from the samples, and use logsumexp for sums of densities",
    ):
        return
    gap = float(of_points.mean() - of_samples.mean())
    allowed = sum(
        math.sqrt(2 * float(side.var()) * LOG_RATE / len(side)) + 7 * LOG_RATE / (3 * (len(side) - 1))
        for side in (of_samples, of_points)
    )
    contract.require(
        abs(gap) <= allowed,
        f"{SAMPLES} samples against {called}{about}",
        f"log_prob is {'too high' if gap > 0 else 'too low'} where the samples are: beside a density fitted to them it "
        f"has the share {float(of_points.mean()):.3g}, and {float(of_samples.mean()):.3g} by the samples (at most "
        f"{allowed:.2g} apart)",
        "exp(log_prob) integrates to 1, and samples are distributed by it, for codes of every width",
        "look for a constant that is right for one code width alone, such as log(2 pi) in place of d / 2 log(2 pi), "
        "and compare the scales of sample and log_prob",
    )


def _near(centres: Tensor, n: int) -> Tensor:
    """N draws from the density of `_log_near`."""
    half, d = n // 2, centres.shape[1]
    chosen = torch.randint(len(centres), (n - half,))
    noise = torch.randn(n - half, d, dtype=centres.dtype)
    kernels = centres[chosen] + _widths(centres)[chosen, None] * noise
    return torch.cat([_gaussian(centres).sample((half,)), kernels])


def _log_near(centres: Tensor, z: Tensor) -> Tensor:
    """The log-density [n] of half a fitted Gaussian and half a kernel estimate, at codes z [n, d]."""
    gaussian: Tensor = _gaussian(centres).log_prob(z)  # type: ignore[no-untyped-call]
    return torch.logaddexp(gaussian, _log_kernels(z, centres, _widths(centres))) - math.log(2)


def _gaussian(centres: Tensor) -> torch.distributions.MultivariateNormal:
    covariance = torch.cov(centres.T).view(centres.shape[1], centres.shape[1])
    floor = 1e-6 * float(covariance.diagonal().mean().clamp_min(1e-12))
    return torch.distributions.MultivariateNormal(
        centres.mean(0), covariance + floor * torch.eye(centres.shape[1], dtype=centres.dtype)
    )


def _widths(centres: Tensor) -> Tensor:
    """The distance [c] of each centre to its 12th neighbour, by which a kernel estimate is smoothed."""
    return torch.cdist(centres, centres).kthvalue(NEIGHBOUR + 1, dim=1).values.clamp_min(1e-12)


def _log_kernels(z: Tensor, centres: Tensor, width: Tensor) -> Tensor:
    """The log-density [n] at codes z [n, d] of Gaussians of these widths about all centres."""
    d = z.shape[1]
    constant = d * width.log() + 0.5 * d * math.log(2 * math.pi)
    kernels = [-0.5 * (torch.cdist(piece, centres) / width).square() - constant for piece in torch.split(z, CHUNK)]
    return torch.cat(kernels).logsumexp(1) - math.log(len(centres))


def _point(z: Tensor) -> str:
    return "(" + ", ".join(f"{value:.2g}" for value in z.tolist()) + ")"


def check_gradient(contract: Contract, called: str, log_prob: Density, z: Tensor) -> None:
    """Check the gradient of log_prob in the code against finite differences in float64."""
    z = z.detach().clone().requires_grad_()
    value = log_prob(z)
    if not value.requires_grad:
        with torch.no_grad():
            near = log_prob(z + 1e-5)
        contract.require(
            torch.allclose(value, near, rtol=0, atol=1e-7),
            f"the gradient of {called} in z",
            "the result depends on z, but autograd gives no gradient in z",
            "log_prob is differentiable in z",
            "take out detach(), no_grad() and .data on the way from z to the result",
        )
        return
    try:
        torch.autograd.gradcheck(log_prob, (z,), eps=1e-6, atol=1e-4, rtol=1e-3, fast_mode=False)
    except RuntimeError as error:
        contract.require(
            False,
            f"the gradient of {called} in z, against finite differences in float64",
            " ".join(str(error).split())[:300],
            "log_prob is differentiable in z",
            "look for detach(), no_grad(), .data, and for rounding to float32 on the way",
        )
