"""A kernel density estimate of the codes of training images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from genprior import Codes, DensityPrior, PartConfig, PlanError, Sizes
from genprior_std.layers.standardised_codes import StandardisedCodes
from genprior_std.priors.stored_codes import StoredCodes

__all__ = ["KernelDensity", "effective_number", "leave_one_out"]

QUERIES = 500
"""Codes whose leave-one-out likelihood cross-validation maximises; all kernels are used for each."""
GRID = 24
"""Bandwidths that cross-validation tries, in equal ratios."""
RANGE = (0.02, 2.0)
"""The smallest and the largest of them, as shares of Scott's bandwidth."""
ROOM = 2**22
"""Distances between codes that are computed at once."""
EQUAL = 1e-5
"""The root mean square difference, in standard deviations, up to which codes count as equal: that of rounding."""


class KernelDensity(DensityPrior, StoredCodes):
    """A kernel density estimate, with a Gaussian at the code of each training image.

        p(z) = 1/n sum_i N(z; z_i, h^2 diag(s_1^2, .., s_d^2))

    s_j is the standard deviation of the codes' j-th number and h the bandwidth, so a kernel is as wide as the codes
    where h = 1. With a one-hot condition, n, z_i, s and h are those of the training images with that condition.

    The bandwidth `cross_validation` has the largest likelihood of a code under the kernels of all others,
    prod_i p_-i(z_i), among 24 from 0.02 to 2 times Scott's; at most 500 random codes i are tried. Scott's is
    n^(-1/(d+4)) and Silverman's (n (d + 2) / 4)^(-1/(d+4)): near the best for a single Gaussian, too wide for clusters.
    Codes equal to z_i are not among the others, and n in the rules is n^2 / sum_g n_g^2, for groups of n_g equal codes
    (the effective number of weighted ones, as in SciPy). So repeated images, or several draws of a deterministic
    encoder, do not change the bandwidth; different draws of one image do, since each counts as a code of its own.

    Samples are training codes with noise: a small h memorises them. `log_prob` costs n kernels for each code.

    Raises:
        PlanError: a condition has too few codes, or is not a one-hot.

    References:
        Scott, Multivariate Density Estimation, 1992; Silverman, Density Estimation for Statistics and Data Analysis,
        1986, for the two rules, in the form of `scipy.stats.gaussian_kde`.
    """

    name = "kde"
    least: ClassVar[int] = 2

    class Config(PartConfig):
        """Settings of the kernel density estimate."""

        bandwidth: (
            Literal["cross_validation", "scott", "silverman"] | Annotated[float, Field(gt=0, allow_inf_nan=False)]
        ) = "cross_validation"
        """h, in standard deviations of each number of a code: a number, or the rule that chooses it."""

    widths: Tensor

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Begin with a standard Gaussian for each condition."""
        super().__init__(config, sizes)
        self.register_buffer("widths", torch.ones(len(self.counts), sizes.code))

    def check_codes(self, n: int) -> None:
        """Refuse fewer than 2 codes, which have no standard deviation.

        Raises:
            PlanError: says how many there are.
        """
        if n < self.least:
            raise PlanError(
                f"prior '{self.name}' scales its kernels by the spread of the codes, and needs at least {self.least}; "
                f"the number of codes is {n}. Train with more images"
            )

    def begin_fit(self, codes: Codes) -> None:
        """Keep all codes, and choose the width h s_j of the kernels for each condition."""
        super().begin_fit(codes)
        for place, z in enumerate(torch.split(self.codes, self.counts.tolist())):
            standard = StandardisedCodes(z.shape[1]).to(z)
            standard.set(z)
            self.widths[place] = self._bandwidth(standard(z)) * standard.scale

    def _bandwidth(self, e: Tensor) -> float:
        """The bandwidth h for standardised codes e [n, d]."""
        if not isinstance(self.config.bandwidth, str):
            return float(self.config.bandwidth)
        queries = torch.randperm(len(e), device=e.device)[:QUERIES]
        n, d = effective_number(e, queries), e.shape[1]
        if self.config.bandwidth == "silverman":
            return float((n * (d + 2) / 4) ** (-1 / (d + 4)))
        scott = float(n ** (-1 / (d + 4)))
        if self.config.bandwidth == "scott":
            return scott
        grid = scott * torch.logspace(math.log10(RANGE[0]), math.log10(RANGE[1]), GRID, dtype=e.dtype, device=e.device)
        logs = leave_one_out(e, queries, grid)
        return float(grid[logs.argmax()]) if bool(logs.isfinite().any()) else scott

    def sample(self, asked: Tensor) -> Tensor:
        """Draw z = z_i + h s e [n, d] with e ~ N(0, I) and a training code z_i for each row of `asked` [n, k]."""
        condition = self.condition_of(asked)
        z = self.draw_codes(condition)
        return (z + self.widths[condition] * torch.randn_like(z)).to(asked.dtype)

    def log_prob(self, z: Tensor, asked: Tensor) -> Tensor:
        """The log-density, logsumexp_i log N(z; z_i, h^2 diag(s^2)) - log n: [n] in nats for z [n, d]."""
        condition, of_codes = self.condition_of(asked), self.condition_of_codes()
        z = z.to(torch.promote_types(z.dtype, self.codes.dtype))
        # Rows of other conditions are scaled by other widths here, and are left out below.
        kernels, scaled = self.codes / self.widths[of_codes], z / self.widths[condition]
        rows = max(1, ROOM // len(kernels))
        logs = [
            _log_kernels(points, kernels.to(points)).masked_fill(places[:, None] != of_codes, -math.inf).logsumexp(1)
            for points, places in zip(torch.split(scaled, rows), torch.split(condition, rows), strict=True)
        ]
        return torch.cat(logs) - self.counts[condition].to(z).log() - self.widths.log().sum(1)[condition]


def effective_number(e: Tensor, queries: Tensor) -> float:
    """The effective number of different codes, n^2 / sum_g n_g^2 for groups of n_g equal codes; n if all differ.

    That is n over the mean size of a code's group.

    Args:
        e: standardised codes [n, d].
        queries: the codes whose groups are counted, [m].
    """
    equal = [_is_equal(squares, e.shape[1]).sum() for squares in _distances(e, queries)]
    return len(e) * len(queries) / float(torch.stack(equal).sum())


def leave_one_out(e: Tensor, queries: Tensor, bandwidths: Tensor) -> Tensor:
    """The mean log-density of codes under the kernels of all other codes, for each bandwidth.

        1/m sum_i log 1/n_i sum_{j: e_j != e_i} N(e_i; e_j, h^2 I),    n_i the number of terms

    A query to which all codes are equal is left out of the mean; -inf if that is so for each.

    Args:
        e: standardised codes [n, d].
        queries: which i, [m].
        bandwidths: h, [b].

    Returns:
        [b], in nats.
    """
    d = e.shape[1]
    total, counted = torch.zeros_like(bandwidths), bandwidths.new_zeros(())
    for squares in _distances(e, queries):
        same = _is_equal(squares, d)
        others = (~same).sum(1).to(bandwidths)
        squares = squares.masked_fill(same, math.inf)[others > 0]
        kernels = torch.stack([(-0.5 * squares / h.square()).logsumexp(1).sum() for h in bandwidths])
        total += kernels - others[others > 0].log().sum()
        counted += (others > 0).sum()
    constant = d * bandwidths.log() + 0.5 * d * math.log(2 * math.pi)
    return torch.where(counted > 0, total / counted - constant, -math.inf)


def _distances(e: Tensor, queries: Tensor) -> Iterator[Tensor]:
    """The squared distances of queries to all codes, for some queries at a time: [r, n]."""
    for rows in torch.split(queries, max(1, ROOM // len(e))):
        yield torch.cdist(e[rows], e, compute_mode="donot_use_mm_for_euclid_dist").square()


def _is_equal(squares: Tensor, d: int) -> Tensor:
    """Which squared distances are those of codes [d] that are equal but for rounding."""
    return squares <= d * EQUAL**2


def _log_kernels(z: Tensor, codes: Tensor) -> Tensor:
    """Log N(z; code, I) of every pair: [n, m]; distances are not expanded into products, which would round them."""
    squares = torch.cdist(z, codes, compute_mode="donot_use_mm_for_euclid_dist").square()
    return -0.5 * squares - 0.5 * z.shape[1] * math.log(2 * math.pi)
