"""Images of any number of channels: read, shown, trained on, sampled, compared."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import genprior
from genprior import DataError, RecipeError, ScoreError, Tiles, draw_grid, tile_panels
from genprior.bench.rescore import _with_channels_of
from genprior.data.archives import _channels_first
from genprior.launch.preflight import preflight
from genprior.pictures.grids import printable
from genprior.runs.row_training import RowTraining
from genprior_std.datasets.arrays import Arrays

from ..small import aae


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@settings(deadline=None, derandomize=True)
@given(c=st.integers(1, 9), h=st.integers(10, 14), w=st.integers(10, 14))
def test_the_axis_of_channels_is_found(c, h, w):
    images = noise(2, c, h, w)
    assert np.array_equal(_channels_first(images, "it", None), images)
    assert np.array_equal(_channels_first(np.moveaxis(images, 1, 3), "it", None), images)


@pytest.mark.parametrize("shape", [(2, 6, 4, 6), (2, 8, 4, 4), (2, 3, 8, 1), (2, 4, 4, 4)])
def test_an_axis_that_cannot_be_told_is_asked_for(shape):
    images = noise(*shape)
    try:
        assert np.array_equal(_channels_first(images, "it", None), np.moveaxis(images, 3, 1))
    except DataError as error:
        assert 'and channels = "first" or "last" says which' in str(error)
    assert np.array_equal(_channels_first(images, "it", "first"), images)
    assert np.array_equal(_channels_first(images, "it", "last"), np.moveaxis(images, 3, 1))


def test_the_setting_names_the_axis_of_an_archive(tmp_path):
    images = noise(10, 8, 4, 4)
    np.savez(tmp_path / "deep.npz", images=images)
    with pytest.raises(DataError, match="no axis that must be the channels"):
        Arrays.Config(path=tmp_path / "deep.npz", size=None, channels=None).make().load("train")
    read = Arrays.Config(path=tmp_path / "deep.npz", size=None, channels="first", test_fraction=0).make().load("train")
    assert sorted(map(bytes, read.images.numpy())) == sorted(map(bytes, images))


def test_other_channels_are_shown_in_grey_side_by_side(tmp_path):
    images = torch.from_numpy(noise(3, 4, 5, 6))
    shown = printable(images)
    assert shown.shape == (3, 1, 5, 24)
    for channel in range(4):
        assert torch.equal(shown[:, 0, :, 6 * channel : 6 * (channel + 1)], images[:, channel])
    draw_grid(images, tmp_path / "grid.png", columns=3)
    picture = np.asarray(Image.open(tmp_path / "grid.png"))
    assert picture.shape == (5 + 4, 3 * (24 + 2) + 2, 3)
    for place in range(3):
        tile = picture[2:7, 2 + 26 * place : 26 * place + 26]
        assert np.array_equal(tile, np.repeat(shown[place, 0].numpy()[:, :, None], 3, axis=2))
    for c in (1, 3):
        assert torch.equal(printable(images[:, :c]), images[:, :c])


def test_a_figure_shows_them_in_the_same_way():
    images = torch.from_numpy(noise(2, 3, 2, 4, 4))
    grey = printable(images)
    (first, second) = (tile_panels([Tiles("A", each)]).axes[0].images[0].get_array() for each in (images, grey))
    assert np.array_equal(first, second)


def test_images_are_compared_with_equal_channels_only():
    class Source:
        described = {"name": "mine"}

    two, four, grey, colour = (torch.from_numpy(noise(2, c, 4, 4)) for c in (2, 4, 1, 3))
    assert _with_channels_of(two, two, Source()) is two
    assert _with_channels_of(grey, colour, Source()).shape == (2, 3, 4, 4)
    for one, other in ((two, four), (grey, four), (four, grey)):
        text = f"its images have {one.shape[1]} channels, and those of mine have {other.shape[1]}"
        with pytest.raises(ScoreError, match=text):
            _with_channels_of(one, other, Source())


@pytest.fixture
def recipe_of(tmp_path):
    """Writes a recipe that trains on 40 images of 8x8 with c channels."""

    def recipe(c, scores="[]", model=None):
        np.savez(tmp_path / f"{c}.npz", images=noise(40, 8, 8, c), labels=np.arange(40) % 2)
        (tmp_path / "recipe.toml").write_text(
            f'title = "c = {c}"\ndata = {{ name = "arrays", path = "{tmp_path}/{c}.npz", size = 8 }}\n'
            f'scores = {scores}\nrun = {{ steps = 2, batch = 8 }}\noptimiser.default = {{ name = "adam", lr = 1e-3 }}\n'
            + (model or aae())
        )
        return tmp_path / "recipe.toml"

    return recipe


@pytest.mark.parametrize("c", [2, 4, 5])
def test_they_are_trained_on_sampled_scored_and_read_again(c, recipe_of, tmp_path, no_curves):
    scores = '[{ name = "classifier_score", samples = 20, splits = 2 }]'
    genprior.train(genprior.load_recipe(recipe_of(c, scores)), out=tmp_path / "runs", device="cpu")
    folder = tmp_path / "runs" / "base" / "seed-0"
    run = genprior.load_run(folder)
    assert run.sample(3).shape == (3, c, 8, 8)
    assert run.scores["classifier_score"] >= 1


@pytest.mark.parametrize("score", ["inception_score", "fid", "kid", "precision_recall"])
def test_a_score_that_needs_grey_or_colour_says_so_before_training(score, recipe_of):
    with pytest.raises(RecipeError, match="Inception sees colour images of 3 channels, or grey .* these have 2"):
        preflight(genprior.load_recipe(recipe_of(2, f'[{{ name = "{score}" }}]')), "cpu")


@pytest.mark.parametrize("recipe", ["table3_ablation", "vae_gan", "gans/began", "pixelgan_gaussian", "table1_priors"])
def test_networks_take_any_number_of_channels(recipe, recipe_of, tmp_path):
    recipe_of(4)
    data = f'data={{ name = "arrays", path = "{tmp_path}/4.npz", size = 16 }}'
    settings = [data, "scores=[]", "run.batch=8"]
    loaded = genprior.load_recipe(f"recipes/{recipe}.toml", changes=["quick"], settings=settings)
    preflight(loaded, "cpu")
    row = RowTraining(loaded.plans[-1], 0, tmp_path / "row", device="cpu")
    row.prepare()
    row.one_step()
    row.check()
    assert row.sample(2).shape == (2, 4, 16, 16)
