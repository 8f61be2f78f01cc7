"""Pictures: their layout, and that a failure keeps the old file."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

import genprior
from genprior.errors import DataError, RunError
from genprior.pictures import grids as pictures
from genprior.pictures.grids import draw_curves, draw_grid, side_by_side
from genprior.runs.trainer import Trainer


def picture_of(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def noise(n, c=3, size=32):
    return torch.randint(256, (n, c, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))


def test_a_hundred_images_make_the_papers_picture(tmp_path):
    images = noise(100)
    draw_grid(images, tmp_path / "deep" / "grid.png")
    picture = picture_of(tmp_path / "deep" / "grid.png")
    assert picture.shape == (342, 342, 3)
    for place in (0, 9, 10, 57, 99):
        top, left = 2 + 34 * (place // 10), 2 + 34 * (place % 10)
        assert np.array_equal(picture[top : top + 32, left : left + 32], images[place].permute(1, 2, 0).numpy())
    assert not picture[:2].any() and not picture[34:36].any() and not picture[:, -2:].any()


@pytest.mark.parametrize(("n", "shape"), [(1, (36, 36, 3)), (3, (36, 104, 3)), (11, (70, 342, 3))])
def test_any_number_of_images(tmp_path, n, shape):
    images = noise(n, c=1)
    draw_grid(images, tmp_path / "grid.png")
    picture = picture_of(tmp_path / "grid.png")
    assert picture.shape == shape
    assert np.array_equal(picture[2:34, 2:34], images[0].permute(1, 2, 0).expand(-1, -1, 3).numpy())


@pytest.mark.parametrize("images", [torch.zeros(2, 3, 8, 8), noise(1)[0], noise(2)[:0]])
def test_what_is_no_picture_is_refused(tmp_path, images):
    with pytest.raises(DataError, match=r"at least one image, uint8 \[n, c, h, w\]; got"):
        draw_grid(images, tmp_path / "grid.png")
    assert list(tmp_path.iterdir()) == []


def test_no_columns_are_refused(tmp_path):
    with pytest.raises(DataError, match="at least one column; got 0"):
        draw_grid(noise(2), tmp_path / "grid.png", columns=0)


def test_a_failed_write_leaves_the_old_picture(tmp_path, monkeypatch):
    path = tmp_path / "grid.png"
    draw_grid(noise(2), path)
    old = path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        draw_grid(noise(3), path)
    assert path.read_bytes() == old and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("n", "across", "down"), [(1, 1, 1), (4, 4, 1), (5, 4, 2), (8, 4, 2)])
def test_panels_stand_four_a_line(tmp_path, monkeypatch, n, across, down):
    drawn = []
    real = pictures._render
    monkeypatch.setattr(pictures, "_render", lambda figure, *facts: drawn.append(figure) or real(figure, *facts))
    labels = [f"row {number} $x_" for number in range(n)]
    side_by_side({label: noise(20) for label in labels}, tmp_path / "panels.png")
    axes = drawn[0].axes
    assert [axis.get_title() for axis in axes] == labels
    assert [len({round(value, 3) for value in sides}) for sides in zip(*_corners(axes), strict=True)] == [across, down]
    tile = np.asarray(axes[0].images[0].get_array())
    assert tile.shape == (70, 342, 3) and np.array_equal(tile[2:34, 2:34], noise(20)[0].permute(1, 2, 0).numpy())
    assert picture_of(tmp_path / "panels.png").shape[1] > 200 * across


def _corners(axes):
    return [(axis.get_position().x0, axis.get_position().y0) for axis in axes]


def test_no_panel_is_refused(tmp_path):
    with pytest.raises(DataError, match="at least one panel"):
        side_by_side({}, tmp_path / "panels.png")


def test_curves_are_the_rows(tmp_path, monkeypatch):
    drawn = []
    real = pictures._render
    monkeypatch.setattr(pictures, "_render", lambda figure: drawn.append(figure) or real(figure))
    rows = [
        {"step": 1, "seconds": 0.5, "loss": 2.0, "phase": "a", "done": False},
        {"step": 2, "loss": math.nan, "critic": 0.5},
        {"step": 3, "loss": math.inf, "critic": 0.25},
        {"loss": 9.0},
        {"step": 4, "loss": 1},
    ]
    draw_curves(rows, tmp_path / "curves.png")
    lines = {axis.get_title(): axis.lines[0] for axis in drawn[0].axes}
    assert set(lines) == {"loss", "critic"}
    assert lines["loss"].get_xdata() == pytest.approx([1, 2, 3, 4])
    assert lines["loss"].get_ydata() == pytest.approx([2.0, math.nan, math.nan, 1.0], nan_ok=True)
    assert (list(lines["critic"].get_xdata()), list(lines["critic"].get_ydata())) == ([2, 3], [0.5, 0.25])
    assert picture_of(tmp_path / "curves.png").std() > 0


@pytest.mark.parametrize(("names", "upright"), [(("a", "b", "c"), False), (("a", "automobile", "c"), True)])
def test_names_stand_above_their_columns(tmp_path, names, upright):
    draw_grid(noise(6, size=16), tmp_path / "plain.png", columns=3)
    draw_grid(noise(6, size=16), tmp_path / "named.png", columns=3, names=names)
    plain, named = picture_of(tmp_path / "plain.png"), picture_of(tmp_path / "named.png")
    high = len(named) - len(plain)
    assert np.array_equal(named[high:], plain)  # the images themselves are as without names
    assert high == 14 if not upright else high > 40
    for place in range(3):
        assert named[:high, 2 + 18 * place : 18 + 18 * place].any(), f"no name above column {place}"
    gaps = [named[:high, :2], named[:high, 18:20], named[:high, 36:38], named[:high, 54:]]
    assert not any(gap.any() for gap in gaps)


def test_as_many_names_as_columns(tmp_path):
    with pytest.raises(DataError, match="a grid of 10 columns needs as many names; 2 were given"):
        draw_grid(noise(4), tmp_path / "grid.png", names=("a", "b"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "rows", [[], [{"step": 1}], [{"loss": 1.0}], [{"step": 1, "phase": "a"}], [{"step": 1, "seconds": 1}]]
)
def test_nothing_to_draw_is_refused(tmp_path, rows):
    with pytest.raises(RunError, match="no curves to draw"):
        draw_curves(rows, tmp_path / "curves.png")


@pytest.mark.parametrize("ema", ["", "run.ema=0.5"])
def test_a_run_shows_the_pseudo_inputs_of_its_vampprior(tiny, tmp_path, ema):
    """Five images of 8 x 8 in a row, those of the averaged weights where there are any."""
    settings = [
        'model.prior={name="vampprior",components=5,std=0.6}',
        'model.encoder.posterior="gaussian"',
        "model.improves.prior=true",
        "optimiser.default.lr=0.05",
        *([ema] if ema else []),
    ]
    trainer = Trainer(genprior.load_recipe(tiny, rows=["AAE"], settings=settings).plans[0], 0, tmp_path / "run")
    trainer.run()
    picture = picture_of(tmp_path / "run" / "samples" / "pseudo_inputs.png")
    assert picture.shape == (12, 52, 3)
    live = trainer.model.prior.pseudo_inputs.detach()
    shown = trainer.average.tensors["prior.pseudo_inputs"] if ema else live
    expected = (shown.clamp(-1, 1) + 1) * 127.5
    for k in range(5):
        tile = picture[2:10, 2 + 10 * k : 10 + 10 * k, 0].astype(float)
        assert np.abs(tile - expected[k, 0].numpy()).max() <= 0.51
    if ema:
        assert ((shown - live).abs() > 0.02).any()


def test_a_run_with_another_prior_leaves_no_such_picture(tiny, tmp_path):
    Trainer(genprior.load_recipe(tiny, rows=["AAE"]).plans[0], 0, tmp_path / "run").run()
    made = {path.name for path in (tmp_path / "run" / "samples").iterdir()}
    assert "step-00000006.png" in made and "pseudo_inputs.png" not in made
