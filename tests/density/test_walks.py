"""Walks along priors: their codes, against scipy and formulas, and their order."""

from __future__ import annotations

import math

import numpy
import pytest
import torch
from scipy import stats

from genprior.parts import Sizes
from genprior_std.priors.gaussian import Gaussian
from genprior_std.priors.mixture import Mixture
from genprior_std.priors.swiss_roll import SwissRoll
from genprior_std.priors.uniform import Uniform

LIKE = torch.zeros(1, dtype=torch.float64)


def sizes(code, asked=0):
    return Sizes(image=(1, 16, 16), code=code, known=asked, asked=asked, one_hot=asked > 0)


# Prior, and how many rows its walk has for 8 columns.
PLANE = {
    "gaussian": (Gaussian.Config(sigma=5).make(sizes(2)), 8),
    "gaussian, asked": (Gaussian.Config().make(sizes(2, 3)), 8),
    "uniform": (Uniform.Config(low=-0.5, high=2.0).make(sizes(2)), 8),
    "mixture": (Mixture.Config().make(sizes(2)), 10),
    "mixture of 3, asked": (Mixture.Config(components=3).make(sizes(2, 3)), 3),
    "swiss_roll": (SwissRoll.Config().make(sizes(2)), 10),
    "swiss_roll, asked": (SwissRoll.Config().make(sizes(2, 4)), 4),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", PLANE)
def test_a_walk_has_rows_and_columns_in_the_dtype_that_is_wanted_and_draws_nothing(case, dtype):
    prior, rows = PLANE[case]
    before = torch.get_rng_state()
    z = prior.walk(8, LIKE.to(dtype))
    assert z.shape == (rows, 8, 2)
    assert z.dtype == dtype
    assert z.isfinite().all()
    assert torch.equal(torch.get_rng_state(), before)
    assert len(z.flatten(0, 1).unique(dim=0)) == rows * 8


@pytest.mark.parametrize("part", [Gaussian, Uniform])
@pytest.mark.parametrize("code", [1, 3, 64])
def test_there_is_no_walk_through_other_widths(part, code):
    assert part.Config().make(sizes(code)).walk(8, LIKE) is None


@pytest.mark.parametrize("case", PLANE)
def test_codes_of_a_walk_are_as_likely_as_those_of_samples(case):
    """None is less likely than the least likely hundredth of samples (the seed is fixed).

    The least likely codes of the walks are those at the corners of the Gaussian's square, at 1.53 sigma in both
    numbers; exp(-1.53^2) = 9.6% of samples are less likely.
    """
    prior, rows = PLANE[case]
    asked = prior.sizes.asked
    torch.manual_seed(0)
    k = torch.arange(4000) % max(asked, 1)
    drawn = torch.nn.functional.one_hot(k, max(asked, 1)).double()[:, : asked or 0]
    rare = prior.log_prob(prior.sample(drawn), drawn).quantile(0.01)
    z = prior.walk(8, LIKE)
    # Where a row stands for what is asked, it is judged by that density.
    row = torch.arange(rows)[:, None].expand(-1, 8).flatten() % max(asked, 1)
    told = torch.nn.functional.one_hot(row, max(asked, 1)).double()[:, : asked or 0]
    assert prior.log_prob(z.flatten(0, 1), told).min() >= rare


def test_the_gaussian_square_cuts_the_mass_into_equal_shares():
    z = Gaussian.Config(sigma=5).make(sizes(2)).walk(20, LIKE).numpy()
    middle = (numpy.arange(20) + 0.5) / 20
    assert stats.norm(0, 5).cdf(z[:, :, 0]) == pytest.approx(numpy.tile(middle, (20, 1)))
    assert stats.norm(0, 5).cdf(z[:, :, 1]) == pytest.approx(numpy.tile(middle[::-1, None], (1, 20)))


def test_the_uniform_square_is_made_of_the_middles_of_equal_cells():
    z = Uniform.Config(low=-1, high=3).make(sizes(2)).walk(4, LIKE).numpy()
    assert z[0, :, 0].tolist() == pytest.approx([-0.5, 0.5, 1.5, 2.5])
    assert z[:, 0, 1].tolist() == pytest.approx([2.5, 1.5, 0.5, -0.5])
    assert (z[:, :, 0] == z[:1, :, 0]).all()
    assert (z[:, :, 1] == z[:, :1, 1]).all()


def test_the_rows_of_a_mixture_are_its_components_from_one_end_to_the_other():
    z = Mixture.Config(components=7, shift=3, radial=0.5, tangential=0.1).make(sizes(2)).walk(5, LIKE).numpy()
    for k in range(7):
        phi = 2 * math.pi * k / 7
        turn = numpy.array([[math.cos(phi), -math.sin(phi)], [math.sin(phi), math.cos(phi)]])
        along = z[k] @ turn  # the rows of z times the transpose of the inverse turn
        assert along[:, 0] == pytest.approx([2.0, 2.5, 3.0, 3.5, 4.0])
        assert along[:, 1] == pytest.approx(numpy.zeros(5), abs=1e-12)


@pytest.mark.parametrize("asked", [0, 4])
def test_the_rows_of_the_roll_go_outwards_along_its_segments(asked):
    rows, columns = asked or 10, 6
    z = SwissRoll.Config().make(sizes(2, asked)).walk(columns, LIKE).numpy()
    radius = numpy.hypot(*z.reshape(-1, 2).T)
    # The radius is 3 sqrt(u), so u = (radius / 3)^2 gives the segment of each code; it rises from code to code.
    u = (radius / 3) ** 2
    assert (numpy.diff(u) > 0).all()
    assert numpy.floor(u * rows).reshape(rows, columns).tolist() == [[k] * columns for k in range(rows)]
    assert u.reshape(rows, columns).mean(1) == pytest.approx((numpy.arange(rows) + 0.5) / rows)
    angle = numpy.arctan2(z[..., 1], z[..., 0]).reshape(-1)
    assert numpy.angle(numpy.exp(1j * (4 * math.pi * numpy.sqrt(u) - angle))) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("case", PLANE)
def test_neighbours_in_a_row_lie_in_order(case):
    """Each row goes one way: along it the first number, the radius or the distance from its start only grows."""
    prior, _ = PLANE[case]
    z = prior.walk(8, LIKE)
    along = z[:, :, 0] if "gaussian" in case or "uniform" in case else None
    if along is None and "swiss" in case:
        along = z.norm(dim=2)
    if along is None:
        along = (z - z[:, :1]).norm(dim=2)
    assert (along.diff(dim=1) > 0).all()
