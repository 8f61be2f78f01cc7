"""The ring of eight Gaussians: its scoring on points made by hand, and a GAN that finds all of it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def ring(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import ring_of_gaussians

    return ring_of_gaussians


def points(ring, *counts, good=0, away=0):
    """So many points exactly at each centre, `good` 2.9 sigma from the first one and `away` 3.1 sigma from it."""
    at = ring.centres(torch.zeros(1))
    near, far = (at[:1] * (1 + k * ring.SIGMA / ring.RADIUS) for k in (2.9, 3.1))
    return torch.cat([at.repeat_interleave(torch.tensor(counts), 0), near.expand(good, 2), far.expand(away, 2)])


@pytest.mark.parametrize(
    ("counts", "more", "modes", "share"),
    [
        ((10,) * 8, {}, 8, 1.0),
        ((80, 0, 0, 0, 0, 0, 0, 0), {}, 1, 1.0),
        ((40, 0, 40, 0, 0, 0, 0, 0), {}, 2, 1.0),
        # 160 points: the fair share of a mode is 20, and a quarter of it 5.
        ((66, 66, 5, 5, 5, 5, 4, 4), {}, 6, 1.0),
        ((0, 66, 60, 5, 5, 5, 4, 4), {"good": 5, "away": 6}, 6, 154 / 160),
        ((0, 66, 60, 5, 5, 5, 4, 4), {"good": 4, "away": 7}, 5, 153 / 160),
        ((0,) * 8, {"away": 80}, 0, 0.0),
    ],
)
def test_modes_and_good_points_are_counted_right(counts, more, modes, share, ring):
    found = ring.coverage(points(ring, *counts, **more))
    assert found.modes == modes
    assert found.good == pytest.approx(share)


def test_the_ring_itself_covers_all_modes_with_the_share_of_good_points_of_a_gaussian(ring):
    """1 - exp(-9 / 2) of a plane Gaussian lies within 3 sigma; 20,000 points, 4.5 standard errors, seed fixed."""
    torch.manual_seed(0)
    x = ring.ring(20_000)
    assert x.shape == (20_000, 1, 1, 2) and float(x.abs().max()) <= 1
    found = ring.coverage(x.view(-1, 2))
    expected = 1 - math.exp(-4.5)
    assert found.modes == 8
    assert abs(found.good - expected) < 4.5 * math.sqrt(expected * (1 - expected) / 20_000)


def test_the_script_prints_a_row_for_each_game_and_prior(ring, capsys):
    assert ring.main(["--games", "hinge", "catgan", "--priors", "mixture", "--steps", "2", "--seeds", "2"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows] == ["| game", "| hinge", "| catgan"]


@pytest.mark.slow
def test_a_nonsaturating_gan_finds_all_eight_modes(ring):
    model, _ = ring.train("nonsaturating, r1 = 0.1", "gaussian", steps=2000, seed=0)
    found = ring.measure(model)
    assert found.modes == 8
    assert found.good > 0.6
