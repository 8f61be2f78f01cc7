"""Measures of strokes, on figures whose moments are known."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genprior_std.strokes import height_to_width, ink_of, slant, thickness


def rectangle(height, width, size=32, top=5, left=7):
    """Ink [1, size, size] of a full rectangle."""
    ink = torch.zeros(1, size, size, dtype=torch.float64)
    ink[:, top : top + height, left : left + width] = 1
    return ink


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 10), st.integers(0, 10), st.floats(0.1, 1))
def test_a_rectangle_has_its_own_ratio_and_no_slant(a, b, top, left, dark):
    ink = dark * rectangle(a, b, top=top, left=left)
    assert float(height_to_width(ink)) == pytest.approx(math.log(a / b))
    assert float(slant(ink)) == pytest.approx(0, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(-2, 2), st.integers(2, 8), st.integers(1, 5))
def test_a_shear_has_its_own_angle(shear, height, width):
    """Each row is moved by `shear` pixels more than the row below it, to the right."""
    ink = torch.zeros(1, 40, 40, dtype=torch.float64)
    for row in range(height):
        left = 18 + shear * row
        ink[0, 30 - row, left : left + width] = 1
    assert float(slant(ink)) == pytest.approx(math.degrees(math.atan(shear)))


def test_ink_is_what_differs_from_the_border():
    figure = rectangle(4, 3, size=12, top=3, left=4)
    dark = (255 - 200 * figure).to(torch.uint8)[:, None]
    assert torch.allclose(ink_of(dark), figure * 200 / 255)
    assert torch.equal(ink_of(dark), ink_of(255 - dark))
    # Green on red of one brightness, which is no ink in grey.
    red, green = torch.tensor([150, 0, 0]), torch.tensor([0, 150, 0])
    coloured = torch.where(figure[:, None] > 0, green[:, None, None], red[:, None, None]).to(torch.uint8)
    assert torch.allclose(ink_of(coloured), figure * 150 / 255)
    # A few pixels of the figure at the border do not change the background.
    touching = (255 * rectangle(9, 2, size=12, top=3, left=4)).to(torch.uint8)[:, None]
    assert torch.equal(ink_of(touching), touching[:, 0] / 255.0)


def test_images_are_measured_one_by_one_and_blank_ones_are_zero():
    images = torch.randint(256, (5, 3, 9, 14), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images[2] = 77
    for measure in (slant, thickness, height_to_width):
        together = measure(ink_of(images))
        assert together.shape == (5,) and together[2] == 0 and torch.isfinite(together).all()
        assert torch.allclose(together, torch.cat([measure(ink_of(each[None])) for each in images]))
