"""Slant and thickness against bars and rings whose slant and thickness are known."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genprior_std.strokes import slant, thickness

SIZE, FINE = 64, 8
PLACES = (torch.arange(SIZE * FINE, dtype=torch.float64) + 0.5) / FINE - SIZE / 2
"""The places of FINE x FINE points in each pixel, from the centre of the image."""
Y, X = PLACES[:, None], PLACES[None]


def drawn(inside):
    """The share of each pixel that is inside, [1, SIZE, SIZE]."""
    return inside.double().unflatten(1, (SIZE, FINE)).unflatten(0, (SIZE, FINE)).mean((1, 3))[None]


def bar(width, length=40.0, angle=0.0, right=0.0, down=0.0):
    """A bar of that horizontal width, leaning to the right by an angle in degrees."""
    x, y = X - right, Y - down
    return drawn(((x + math.tan(math.radians(angle)) * y).abs() <= width / 2) & (y.abs() <= length / 2))


def ring(radius, width, right=0.0, down=0.0):
    return drawn((torch.hypot(X - right, Y - down) - radius).abs() <= width / 2)


@given(angle=st.floats(-40, 40), width=st.floats(2, 10))
def test_a_sheared_bar_has_the_slant_of_its_shear(angle, width):
    assert slant(bar(width, angle=angle)).item() == pytest.approx(angle, abs=0.3)


def test_symmetric_drawings_are_upright():
    drawings = torch.cat([bar(4), ring(15, 4), torch.maximum(bar(4), bar(30, length=4))])
    torch.testing.assert_close(slant(drawings), torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)


@given(angle=st.floats(-30, 30), width=st.integers(8, 40), length=st.integers(100, 180))
def test_a_bar_has_twice_its_area_by_its_contour(angle, width, length):
    # In quarters of a pixel, so that edges of upright bars lie between drawn points and the bar is as wide as it says.
    width, length = width / 4, length / 4
    contour = 2 * (width + length / math.cos(math.radians(angle)))
    assert thickness(bar(width, length, angle)).item() == pytest.approx(2 * width * length / contour, rel=0.06)


@given(radius=st.floats(12, 20), width=st.floats(2, 8))
def test_a_ring_has_its_width(radius, width):
    assert thickness(ring(radius, width)).item() == pytest.approx(width, rel=0.06)


@given(width=st.floats(2, 5))
def test_twice_the_width_is_twice_the_thickness(width):
    one, two = (thickness(ring(18, w)).item() for w in (width, 2 * width))
    assert two / one == pytest.approx(2, rel=0.08)


@given(right=st.integers(-10, 10), down=st.integers(-8, 8))
def test_a_move_by_pixels_changes_nothing(right, down):
    here, there = bar(5, 30, 20), bar(5, 30, 20, right, down)
    assert not torch.equal(here, there) or (right, down) == (0, 0)
    torch.testing.assert_close(slant(there), slant(here))
    torch.testing.assert_close(thickness(there), thickness(here))


@given(right=st.floats(-3, 3), down=st.floats(-3, 3))
def test_a_move_by_parts_of_a_pixel_changes_little(right, down):
    assert slant(bar(5, 30, 20, right, down)).item() == pytest.approx(20, abs=0.5)
    assert thickness(ring(15, 5, right, down)).item() == pytest.approx(5, rel=0.04)


def test_a_batch_is_measured_image_by_image():
    drawings = torch.cat([bar(3, angle=10), ring(15, 5), bar(8, angle=-20)]).float()
    for measure in (slant, thickness):
        torch.testing.assert_close(measure(drawings), torch.cat([measure(each[None]) for each in drawings]))


def test_no_ink_has_neither():
    for measure in (slant, thickness):
        assert measure(torch.zeros(2, 8, 8)).tolist() == [0, 0]
